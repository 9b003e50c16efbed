"""Runs the fast tests with the lowest versions that pyproject.toml allows: `python tests/lowest.py FOLDER [pytest's arguments]`.

Makes a virtual environment in FOLDER, with every dependency, those of the tests too, at its lower bound. Only torch is the
version that is installed here: an older one is a large download. What a dependency itself depends on is the newest there is,
since that is what somebody gets who has an old version of it pinned.
"""

import re
import subprocess
import sys
import tomllib
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def lowest(requirements: list[str]) -> list[str]:
    """NAME>=VERSION as NAME==VERSION, but for torch."""
    pinned = []
    for requirement in requirements:
        found = re.fullmatch(r"([\w.-]+)>=([\w.]+)(,<[\w.]+)?", requirement)
        assert found, f"{requirement}: there is no lower bound, or something else besides"
        name = found[1]
        pinned.append(f"{name}=={version('torch').partition('+')[0] if name == 'torch' else found[2]}")
    return pinned


def main() -> int:
    """Install, then test; pytest's exit status."""
    folder, *arguments = sys.argv[1:]
    python = Path(folder) / ("Scripts" if sys.platform == "win32" else "bin") / "python"
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    pinned = lowest(project["dependencies"] + project["optional-dependencies"]["test"])
    print(*pinned)
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    subprocess.run([python, "-m", "pip", "install", "-q", *pinned], check=True)
    subprocess.run([python, "-m", "pip", "install", "-q", "--no-deps", "-e", ROOT], check=True)
    return subprocess.run([python, "-m", "pytest", "-q", *arguments], cwd=ROOT, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
