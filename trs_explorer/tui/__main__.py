"""The child process of the dashboard, started by `trs_explorer.tui.terminal_restore`; not meant to be called by hand."""

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
from trs_explorer.tui.terminal_restore import GRACE_S, MODES_OFF, REPORT_BYTES, restore, terminal_attributes, write

POLL_S = 0.5


def main() -> int:
    """Show the dashboard; returns 0 if the user left, 1 after a crash. Its reason is sent through the parent's pipe."""
    arguments = json.loads(sys.argv[1])
    try:
        against = open_run(Path(arguments["against"])) if arguments["against"] else None
        app = Dashboard(open_run(Path(arguments["run"])), **arguments["flags"], against=against)
        app.error_console.quiet = True  # otherwise textual prints a page of traceback
        asyncio.run(_show(app, arguments["parent"]))
        error = app._exception  # textual has no public name for it
    except Exception as raised:
        error = raised
    else:
        write(MODES_OFF)  # textual forgets one of them
        if not app.return_code:
            return 0
    with os.fdopen(arguments["report"], "wb") as pipe:
        pipe.write(_describe(error).encode(errors="replace")[-REPORT_BYTES:])
    return 1


async def _show(app: Dashboard, parent: int) -> None:
    arguments = (parent, app, asyncio.get_running_loop(), terminal_attributes())
    threading.Thread(target=_leave_with_parent, args=arguments, daemon=True).start()
    await app.run_async()


def _leave_with_parent(parent: int, app: Dashboard, loop: asyncio.AbstractEventLoop, before: list | None) -> None:
    """Leave when the parent is gone, because nothing else would restore the terminal; by force if the dashboard is stuck."""
    while os.getppid() == parent:
        time.sleep(POLL_S)
    with contextlib.suppress(RuntimeError):  # the loop has just ended
        # A process that sets a terminal which the shell has taken back is stopped, unless it ignores this signal.
        loop.call_soon_threadsafe(signal.signal, signal.SIGTTOU, signal.SIG_IGN)
        loop.call_soon_threadsafe(app.exit)
    time.sleep(GRACE_S)
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTTOU])
    if before is not None:
        restore(before)
    os._exit(1)


def _describe(error: BaseException | None) -> str:
    """The exception on one line; in full if TRS_DEBUG=1 is in the environment."""
    error = getattr(error, "error", error)  # textual wraps what a worker raised
    if error is None:
        return "unknown reason"
    if os.environ.get("TRS_DEBUG") == "1":
        return "".join(traceback.format_exception(error)).rstrip()
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"


if __name__ == "__main__":
    sys.exit(main())
