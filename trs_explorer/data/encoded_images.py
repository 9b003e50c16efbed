"""Decode image files (PNG, JPEG, ...) with Pillow: safely, upright, with 8 bits, and many of them to one shape.

A file may be damaged or hostile: sizes are checked before its pixels are decoded.
"""

import io
import os
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Any, BinaryIO

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from trs_explorer.files import printable, reason
from trs_explorer.options import UsageError

FORMATS = ("PNG", "JPEG", "GIF", "BMP", "WEBP", "TIFF")
_ORIENTATION = 0x0112  # an EXIF tag
_CHANGES = {  # by what `decode_upright` says of one image
    "turned upright": "were turned upright",
    "first frame": "are animations, of which the first frame was taken",
}
_BATCH = 64  # images that are decoded at a time
_BY_SIDE = (5, 6, 7, 8)  # orientations that exchange width and height

# Pillow only warns about a header that announces too many pixels. Turned into an error globally, because
# warnings.catch_warnings is not thread-safe.
warnings.filterwarnings("error", category=Image.DecompressionBombWarning)


@dataclass(frozen=True)
class Encoded:
    """An image file that is not decoded yet. name: for messages; open: returns a new binary stream of it."""

    name: str
    open: Callable[[], BinaryIO]


def common_shape(images: Iterable[Encoded], size: tuple[int, int] | None = None) -> tuple[int, int, int]:
    """The shape (channel, height, width) to which images are decoded, from their headers.

    One channel if all are grey, else three. size: (height, width); None: the most frequent size, of several the smallest.
    Raises: UsageError with the name of an image that is damaged or has too many pixels.
    """
    kinds: Counter[tuple[int, int, int]] = Counter(_read(image, _kind) for image in images)
    sizes: Counter[tuple[int, int]] = Counter()
    for (height, width, _), count in kinds.items():
        sizes[height, width] += count
    height, width = size or min(sizes, key=lambda size: (-sizes[size], size[0] * size[1], size))
    return max(channels for _, _, channels in kinds), height, width


def decode_all(images: Iterable[Encoded], count: int, shape: tuple[int, int, int]) -> tuple[Tensor, list[str]]:
    """Decode `count` images to uint8 [count, *shape], in their order, and note what was done to how many.

    Images of another size are cropped around the centre to the shape's proportions and resized, bilinearly with antialiasing.
    Transparent areas become white. Grey images are repeated over three channels.
    Raises: UsageError with the name of the first image that is damaged.
    """
    x = np.empty((count, *shape), np.uint8)
    done: Counter[str] = Counter()
    start, remaining = 0, iter(images)
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        while batch := list(islice(remaining, _BATCH)):
            for pixels, changes in pool.map(partial(_read, use=partial(_fit, shape=shape)), batch):
                x[start] = pixels
                done.update(changes)
                start += 1
    return torch.from_numpy(x), [f"{number:,} of {count:,} images {change}" for change, number in sorted(done.items())]


def _read(image: Encoded, use: Callable[[Image.Image], Any]) -> Any:
    """What `use` returns for an image that is opened, not decoded. Raises: UsageError with the image's name."""
    name = printable(image.name)
    try:
        with image.open() as stream, Image.open(stream, formats=FORMATS) as file:
            return use(file)
    except UsageError as error:
        raise UsageError(f"{name}: {error}") from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        most = Image.MAX_IMAGE_PIXELS or 0
        raise UsageError(f"{name} has more than {most:,} pixels: resize it") from None
    except UnidentifiedImageError:
        raise UsageError(f"{name} is not an image of {', '.join(FORMATS)}, or damaged: replace or remove it") from None
    except MemoryError:
        raise UsageError(f"{name}: there is not enough memory to read it: resize it") from None
    except Exception as error:  # decoders raise all kinds of errors for damaged files
        if isinstance(error, OSError) and error.errno is not None:  # of the system, not of a decoder
            raise UsageError(f"{name} cannot be read: {reason(error)}") from error
        what = next(iter(str(error).splitlines()), "") or type(error).__name__
        raise UsageError(f"{name} is damaged ({printable(what)[:120]}): replace or remove it") from error


def _kind(file: Image.Image) -> tuple[int, int, int]:
    """Height and width of the upright image, and 1 if it is grey, else 3; from the header alone."""
    if file.mode in ("I", "F"):
        raise UsageError("its pixels have 32 bits: save it with 8 or 16")
    # Without exif in the header, a PNG would be decoded for it, and a TIFF's size is that of the upright image already.
    turned = "exif" in file.info and file.getexif().get(_ORIENTATION) in _BY_SIDE
    width, height = file.size[::-1] if turned else file.size
    return height, width, 1 if _is_grey(file) else 3


def _is_grey(file: Image.Image) -> bool:
    return file.mode in ("1", "L", "LA", "La") or file.mode[0] == "I"


def _fit(file: Image.Image, shape: tuple[int, int, int]) -> tuple[NDArray[np.uint8], list[str]]:
    """The pixels [channel, height, width] of an opened image, and what was done to it."""
    channels, height, width = shape
    sixteen_bits, grey = file.mode[0] == "I", _is_grey(file)
    picture, changes = decode_upright(file)
    del changes[0]  # describes the file
    changes = [_CHANGES[change] for change in changes]
    if sixteen_bits:
        changes.append("were rounded to 8 bits")
    if picture.size != (width, height):
        picture = picture.crop(centred_box(picture.size, (width, height)))
        picture = picture.resize((width, height), Image.Resampling.BILINEAR)
        changes.append(f"were cropped to the proportions of, and resized to, {height} x {width} (height x width)")
    if picture.mode.endswith("A"):
        if picture.getchannel("A").getextrema() != (255, 255):
            picture = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture.convert("RGBA"))
            changes.append("are partly transparent and were put on white")
        picture = picture.convert("RGB")
    if grey and channels == 3:
        changes.append("are grey and were repeated over three channels")
    pixels = np.asarray(picture.convert("L" if channels == 1 else "RGB")).reshape(height, width, channels)
    return pixels.transpose(2, 0, 1), changes


def decode_upright(file: Image.Image) -> tuple[Image.Image, list[str]]:
    """Decode the first frame, upright, as 8-bit L, LA, RGB or RGBA, and list the conversions so far: first, the file's kind."""
    kind = {"1": "black and white", "L": "grey", "LA": "grey", "P": "palette", "RGBA": "RGB", "CMYK": "CMYK"}
    conversions = [f"{file.width} x {file.height} {kind.get(file.mode, 'grey' if file.mode[0] == 'I' else 'RGB')} {file.format}"]
    if getattr(file, "is_animated", False):
        file.seek(0)
        conversions.append("first frame")
    file.load()
    upright = ImageOps.exif_transpose(file)
    if upright.size != file.size or file.getexif().get(_ORIENTATION, 1) != 1:
        conversions.append("turned upright")
    if upright.mode[0] == "I":  # 16 bits: Pillow's own conversion would clip at 255
        return Image.fromarray((np.asarray(upright, dtype=np.float64) / 257).round().clip(0, 255).astype(np.uint8)), conversions
    grey = upright.mode in ("1", "L", "LA")
    if upright.has_transparency_data:
        return upright.convert("LA" if upright.mode == "LA" else "RGBA"), conversions
    return upright.convert("L" if grey else "RGB"), conversions


def centred_box(size: tuple[int, int], proportions: tuple[int, int]) -> tuple[int, int, int, int]:
    """Return the largest centred box with these proportions: left, upper, right, lower. Both are (width, height)."""
    width = min(size[0], max(1, round(size[1] * proportions[0] / proportions[1])))
    height = min(size[1], max(1, round(size[0] * proportions[1] / proportions[0])))
    left, upper = (size[0] - width) // 2, (size[1] - height) // 2
    return left, upper, left + width, upper + height


def from_bytes(name: str, raw: bytes) -> Encoded:
    """An image file whose bytes are in memory."""
    return Encoded(name, partial(io.BytesIO, raw))


def chosen(images: Iterable[Encoded], mask: Sequence[bool]) -> Iterable[Encoded]:
    """The images at which mask is true."""
    return (image for image, take in zip(images, mask, strict=True) if take)
