"""Fashion-MNIST: images of clothes in MNIST's format, from a Debian package or a folder of the user.

Source: Xiao et al. 2017 (arXiv:1708.07747), https://github.com/zalandoresearch/fashion-mnist.
"""

from pathlib import Path

from trs_explorer.data.idx import Split, read_split
from trs_explorer.options import UsageError
from trs_explorer.sources import FASHION_MNIST


def fashion_mnist(train: bool, data_dir: str, seed: int) -> Split:
    """Clothes and their labels: 60,000 to train on, or the 10,000 test ones, in the files' order.

    data_dir: folder with {train,t10k}-{images-idx3,labels-idx1}-ubyte, plain or .gz; empty: where the Debian package
    dataset-fashion-mnist puts them. seed is not used.
    Raises: UsageError that names the file which is missing or damaged, and the way out.
    """
    if not data_dir and not FASHION_MNIST.is_here:
        raise UsageError(FASHION_MNIST.missing)
    folder = Path(data_dir).expanduser() if data_dir else FASHION_MNIST.folder
    return read_split(folder, train, name="Fashion-MNIST", remedy="get the file again, or install dataset-fashion-mnist again")
