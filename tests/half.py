"""Store a finished run's weights in float16, which halves what ships. `python tests/half.py RUN OUT`.

float32 holds every float16 value exactly: what is evaluated afterwards is what is stored. The hashes in the log become those of
the new files; training states, which a resumed training would need, are left out.
"""

import hashlib
import json
import shutil
import sys
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file


def store_half(run: Path, out: Path) -> None:
    """Copy a run with its weights in float16. Raises ValueError if a weight does not fit into float16."""
    out.mkdir(parents=True)
    for name in ("config.json", "status.json"):
        shutil.copy(run / name, out / name)
    hashes = {}
    for path in sorted(run.glob("epoch-*.safetensors")):
        weights = {name: value.half() if value.dtype == torch.float32 else value for name, value in load_file(path).items()}
        if not all(value.isfinite().all() for value in weights.values() if value.is_floating_point()):
            raise ValueError(f"{path}: a weight is beyond the range of float16")
        save_file(weights, out / path.name)
        hashes[path.stem.removeprefix("epoch-")] = hashlib.sha256((out / path.name).read_bytes()).hexdigest()
    with (run / "events.jsonl").open() as log, (out / "events.jsonl").open("w") as copy:
        for line in log:
            event = json.loads(line)
            if event["kind"] == "checkpoint" and event["name"] in hashes:
                event = {**event, "sha256": hashes[event["name"]]}
                event.pop("state_sha256", None)
                line = json.dumps(event, separators=(",", ":")) + "\n"
            copy.write(line)


if __name__ == "__main__":
    store_half(Path(sys.argv[1]), Path(sys.argv[2]))
