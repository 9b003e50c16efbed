"""A trial as a process of its own. It ends, and has saved, when its standard input is closed: also by the death of its parent."""

import os
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from trs_explorer.files import open_for_appending
from trs_explorer.measure.sweep.state import LOGS, forget_outcome
from trs_explorer.shipped import python_m

# The libraries that torch computes with on the CPU, each with threads of its own.
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")


class Child:
    """The process of one trial: `module FOLDER NAME`, with its output in the folder's logs.

    It is in a session of its own: Ctrl-C in the terminal reaches its parent alone, which stops it once.
    """

    def __init__(
        self, module: str, folder: Path, name: str, *, threads: int, environment: Mapping[str, str] | None = None, cwd: str = ""
    ) -> None:
        """Start the process.

        - module: what `python -m` starts.
        - threads: of its computations.
        - environment: variables that it gets besides those of this process.
        - cwd: its working directory; empty: that of this process.
        """
        forget_outcome(folder, name)
        threads_of = dict.fromkeys(THREADS, str(threads))
        with open_for_appending(folder / LOGS / f"{name}.log") as log:
            self._process = subprocess.Popen(
                [*python_m(module), str(folder.resolve()), name],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env={**os.environ, **threads_of, **(environment or {})},
                cwd=cwd or None,
            )

    def poll(self) -> int | None:
        """Its exit status; None while it runs."""
        return self._process.poll()

    def wait(self, timeout: float) -> int | None:
        """Wait for its end, `timeout` seconds at most. Returns its exit status; None if it still runs."""
        with suppress(subprocess.TimeoutExpired):
            return self._process.wait(timeout)
        return None

    def stop(self) -> None:
        """Tell it to save and to end."""
        if self._process.stdin is not None and not self._process.stdin.closed:
            with suppress(OSError):
                self._process.stdin.close()

    def kill(self) -> None:
        """End it at once."""
        self._process.kill()
        self._process.wait()
        self.stop()
