"""Read a user's data: a file of arrays, a folder of image files with a subfolder for each class, or Parquet tables of images."""

from pathlib import Path

from trs_explorer.data.user_data import UserData
from trs_explorer.files import printable
from trs_explorer.options import UsageError
from trs_explorer.sources import ARRAY_SUFFIXES, TABLE_SUFFIXES


def read_user_data(path: str | Path, *, train: bool, size: tuple[int, int] | None = None) -> UserData:
    """Read a split of a user's data, on the CPU. The same files give the same images in the same order on every machine.

    - path: a .npz, .pt, .pth or .safetensors file (`user_arrays.read_arrays`), a .parquet file or a folder of them
      (`image_table.read_table`), or a folder with a subfolder of image files for each class (`image_folder.read_folder`).
    - size: (height, width) to which encoded images are resized; None: their most frequent size. Arrays are not resized.

    Raises: UsageError that names the file and the way out.
    """
    name = printable(path)
    if size is not None and min(size) < 1:
        raise UsageError(f"the size of images must be at least 1 x 1, got {size[0]} x {size[1]}")
    try:
        path = Path(path).expanduser()
        is_folder, exists = path.is_dir(), path.exists()
    except (OSError, ValueError, RuntimeError) as error:  # a name that is too long, a zero byte, a user who does not exist
        raise UsageError(f"{name[:200]} cannot be a file or folder ({error.args[-1]}): correct --data") from error
    if is_folder:
        # Pillow and pyarrow are slow to import, and not everyone needs them
        from trs_explorer.data.image_table import read_table, table_files  # noqa: PLC0415

        if table_files(path):
            return read_table(path, train=train, size=size)
        from trs_explorer.data.image_folder import read_folder  # noqa: PLC0415

        return read_folder(path, train=train, size=size)
    suffix = path.suffix.lower()
    if suffix in TABLE_SUFFIXES:
        from trs_explorer.data.image_table import read_table  # noqa: PLC0415

        return read_table(path, train=train, size=size)
    if suffix in ARRAY_SUFFIXES:
        from trs_explorer.data.user_arrays import read_arrays  # noqa: PLC0415

        return read_arrays(path, train=train)
    if not exists:
        raise UsageError(f"there is no file or folder {name}: correct --data")
    formats = ", ".join((*ARRAY_SUFFIXES, *TABLE_SUFFIXES))
    raise UsageError(f"{name} is no data that can be read: give a folder with a subfolder for each class, or a file of {formats}")
