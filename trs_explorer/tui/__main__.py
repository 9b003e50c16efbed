"""The dashboard's own process, started by `trs_explorer.tui.guard`; not meant to be called by hand."""

import asyncio
import contextlib
import json
import os
import signal
import sys
import threading
import time
import traceback
from pathlib import Path

from trs_explorer.runs import open_run
from trs_explorer.tui.app import Dashboard
from trs_explorer.tui.guard import GRACE_S, MODES_OFF, REPORT_BYTES, attributes, restore, write

POLL_S = 0.5


def main() -> int:
    """Show what the guard asked for; 0 if the user left, 1 after a crash, whose reason goes back through the guard's pipe."""
    asked = json.loads(sys.argv[1])
    try:
        against = open_run(Path(asked["against"])) if asked["against"] else None
        app = Dashboard(open_run(Path(asked["run"])), **asked["flags"], against=against)
        app.error_console.quiet = True  # textual would print a page of traceback
        asyncio.run(_show(app, asked["guard"]))
        error = app._exception  # there is no public way to learn it
    except Exception as raised:
        error = raised
    else:
        write(MODES_OFF)  # textual forgets one
        if not app.return_code:
            return 0
    with os.fdopen(asked["report"], "wb") as pipe:
        pipe.write(_said(error).encode(errors="replace")[-REPORT_BYTES:])
    return 1


async def _show(app: Dashboard, guard: int) -> None:
    watching = (guard, app, asyncio.get_running_loop(), attributes())
    threading.Thread(target=_leave_without, args=watching, daemon=True).start()
    await app.run_async()


def _leave_without(guard: int, app: Dashboard, loop: asyncio.AbstractEventLoop, before: list | None) -> None:
    """Leave when the guard is gone: nobody else would put the terminal back. A view that is stuck is ended all the same."""
    while os.getppid() == guard:
        time.sleep(POLL_S)
    with contextlib.suppress(RuntimeError):  # the loop has ended just now
        # Whoever sets a terminal that the shell has taken back is stopped, unless he ignores the signal.
        loop.call_soon_threadsafe(signal.signal, signal.SIGTTOU, signal.SIG_IGN)
        loop.call_soon_threadsafe(app.exit)
    time.sleep(GRACE_S)
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTTOU])
    if before is not None:
        restore(before)
    os._exit(1)


def _said(error: BaseException | None) -> str:
    """The exception in a line, or with TRS_DEBUG=1 in the environment in full."""
    error = getattr(error, "error", error)  # textual wraps what a worker raised
    if error is None:
        return "for no known reason"
    if os.environ.get("TRS_DEBUG") == "1":
        return "".join(traceback.format_exception(error)).rstrip()
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"


if __name__ == "__main__":
    sys.exit(main())
