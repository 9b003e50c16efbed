"""A trial that trains nothing, for tests of what starts trials: it does what the file NAME.do in the sweep's folder says."""

import os
import signal
import sys
import time
from pathlib import Path

from trs_explorer.measure.sweep.state import write_outcome

folder, name = Path(sys.argv[1]), sys.argv[2]
request = (folder / f"{name}.do").read_text().split()
began = time.monotonic()
with (folder / "log").open("a") as log:
    log.write(f"begin {name} {os.environ['OMP_NUM_THREADS']} {os.environ.get('CUDA_VISIBLE_DEVICES', '-')}\n")
if request[0] == "wait":  # until it is told to save and to end, and for so many seconds more
    while os.read(0, 4096):
        pass
    time.sleep(float(request[1]))
    write_outcome(folder, name, "stopped")
elif request[0] == "die":
    os.kill(os.getpid(), signal.SIGKILL)
elif request[0] == "fail":
    write_outcome(folder, name, "failed", "no room")
elif request[0] == "vanish":
    sys.exit(3)
else:
    others = int(request[1])  # that must run at the same time
    while (folder / "log").read_text().count("begin") < others and time.monotonic() - began < 60:
        time.sleep(0.01)
    write_outcome(folder, name, "finished")
with (folder / "log").open("a") as log:
    log.write(f"end {name}\n")
