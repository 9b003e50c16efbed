"""MNIST: from the idx files embedded in the project, or a folder of the user."""

from pathlib import Path

from trs_explorer.data.idx import Split, read_split
from trs_explorer.options import UsageError
from trs_explorer.shipped import folder

# SHA-256 of the embedded files, unpacked.
SHA256 = {
    "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}

EMBEDDED = folder("assets") / "mnist"


def mnist(train: bool, data_dir: str, seed: int) -> Split:
    """Digits and their labels: 60,000 to train on, or the 10,000 test ones, in the files' order.

    data_dir: folder with {train,t10k}-{images-idx3,labels-idx1}-ubyte, plain or .gz; empty: the embedded files, whose
    SHA-256 is checked. seed is not used.
    Raises: UsageError that names the file which is missing or damaged, and the way out.
    """
    if data_dir:
        remedy = "get the file again, or leave --data-dir out for the embedded MNIST"
        return read_split(Path(data_dir).expanduser(), train, name="MNIST", remedy=remedy)
    return read_split(embedded(), train, name="MNIST", remedy="reinstall trs-explorer or restore the file", sha256=SHA256)


def embedded() -> Path:
    """The folder of the files that came with trs. Raises UsageError if it is not there."""
    if EMBEDDED.is_dir():
        return EMBEDDED
    raise UsageError(f"the embedded MNIST is missing (looked in {EMBEDDED}): reinstall trs-explorer, or give --data-dir your own")
