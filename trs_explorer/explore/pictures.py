"""Images as PNG, the difference of two as a picture, and a picture file of the user's as an image. By Pillow."""

import base64
import io
import warnings

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image, ImageOps
from torch import Tensor

from trs_explorer.options import UsageError

Picture = Float[Tensor, "channel height width"]

FORMATS = ("PNG", "JPEG", "GIF", "BMP", "WEBP")
LARGEST_FILE = 2 << 20  # bytes
LARGEST_SIDE = 4096  # pixels
FACTORS = (0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)

# From where a header alone announces too many pixels; its warning would otherwise only be printed. Once and for all, because
# warnings.catch_warnings is not made for threads.
warnings.filterwarnings("error", category=Image.DecompressionBombWarning)


def png(image: Picture, scale: int = 1) -> bytes:
    """An image as the bytes of a PNG, each pixel drawn as scale x scale. Values are cut to [0, 1]; NaN is black.

    Raises: ValueError unless it has 1 or 3 channels and at least 2 x 2 pixels: a point of the plane is no picture.
    """
    _check_shape(tuple(image.shape))
    pixels = (image.detach().cpu().nan_to_num().clamp(0, 1) * 255).round().to(torch.uint8).permute(1, 2, 0).squeeze(-1)
    picture = Image.fromarray(pixels.contiguous().numpy())
    if scale != 1:
        picture = picture.resize((picture.width * scale, picture.height * scale), Image.Resampling.NEAREST)
    file = io.BytesIO()
    picture.save(file, "PNG")
    return file.getvalue()


def data_uri(raw: bytes) -> str:
    """A PNG's bytes as an address that holds them."""
    return "data:image/png;base64," + base64.b64encode(raw).decode()


def difference(clean: Picture, adversarial: Picture, factor: float | None = None) -> tuple[Picture, str]:
    """What an attack changed, as 0.5 + factor * (adversarial - clean) around middle grey, and words that name the factor.

    factor: the largest of FACTORS that cuts nothing off, unless given (so that a strip of pictures shares one).
    """
    change = adversarial.detach() - clean.detach()
    largest = float(change.abs().max())
    if factor is None:
        factor = max((f for f in FACTORS if f * largest <= 0.5), default=FACTORS[0]) if largest else 1
    picture = (0.5 + factor * change).clamp(0, 1)
    if not largest:
        return picture, "no difference: all grey"
    where = "lighter where a pixel was raised, darker where it was lowered"
    return picture, f"difference x {factor:g} around grey: {where}, by {largest:.2g} at most"


def read_picture(raw: bytes, shape: tuple[int, int, int]) -> tuple[Picture, str]:
    """A picture file as an image of `shape` in [0, 1], float32, and in words what was done to it.

    The first frame, turned as its EXIF says, is cut to shape's proportions around its middle and resized: each pixel is the mean
    of the area it covers, or between its neighbours in an enlargement. For 3 channels, what is transparent becomes white. For 1
    channel (light on dark in all our sets) it becomes what the drawing stands out from, black or white, and a picture that is
    mostly light is inverted.
    Only FORMATS, up to LARGEST_FILE bytes and LARGEST_SIDE pixels a side, which is looked at before anything is unpacked.
    Raises: UsageError in a line for any other file, a damaged one, and a shape that is no picture's.
    """
    try:
        _check_shape(shape)
    except ValueError as error:
        raise UsageError(f"this run's data takes no picture: {error}") from None
    if len(raw) > LARGEST_FILE:
        raise UsageError(f"the picture has {len(raw) / 2**20:.1f} MiB: at most {LARGEST_FILE >> 20} MiB will do")
    try:
        with Image.open(io.BytesIO(raw), formats=FORMATS) as file:
            if max(file.size) > LARGEST_SIDE:
                size = f"{file.width} x {file.height}"
                raise UsageError(f"the picture has {size} pixels: at most {LARGEST_SIDE} x {LARGEST_SIDE} will do")
            picture, done = _decode(file)
    except UsageError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise UsageError(f"the picture has too many pixels: at most {LARGEST_SIDE} x {LARGEST_SIDE} will do") from None
    except Image.UnidentifiedImageError:
        raise UsageError(f"this is no picture that can be read: choose a file in one of {', '.join(FORMATS)}") from None
    except Exception as error:  # decoders meet damaged files with whatever they stumble over
        reason = next(iter(str(error).splitlines()), "") or type(error).__name__
        raise UsageError(f"the picture is damaged: {reason[:120]}") from error
    return _fit(picture, shape, done)


def _decode(file: Image.Image) -> tuple[Image.Image, list[str]]:
    """The first frame, upright, as L, LA, RGB or RGBA of 8 bits, and what was done so far."""
    kind = {"1": "black and white", "L": "grey", "LA": "grey", "P": "palette", "RGBA": "RGB", "CMYK": "CMYK"}
    done = [f"{file.width} x {file.height} {kind.get(file.mode, 'grey' if file.mode[0] == 'I' else 'RGB')} {file.format}"]
    if getattr(file, "is_animated", False):
        file.seek(0)
        done.append("first frame")
    file.load()
    upright = ImageOps.exif_transpose(file)
    if upright.size != file.size or file.getexif().get(0x0112, 1) != 1:
        done.append("turned upright")
    if upright.mode[0] == "I":  # 16 bits: Pillow's own conversion would cut them off at 255
        return Image.fromarray((np.asarray(upright, dtype=np.float64) / 257).round().clip(0, 255).astype(np.uint8)), done
    grey = upright.mode in ("1", "L", "LA")
    if upright.has_transparency_data:
        return upright.convert("LA" if upright.mode == "LA" else "RGBA"), done
    return upright.convert("L" if grey else "RGB"), done


def _fit(picture: Image.Image, shape: tuple[int, int, int], done: list[str]) -> tuple[Picture, str]:
    channels, height, width = shape
    box = _middle(picture.size, (width, height))
    if box != (0, 0, *picture.size):
        done.append("cut to the middle square" if width == height else f"cut to the middle {box[2] - box[0]} x {box[3] - box[1]}")
        picture = picture.crop(box)
    if picture.size != (width, height):
        smaller = picture.width >= width
        picture = picture.resize((width, height), Image.Resampling.BOX if smaller else Image.Resampling.BILINEAR)
        done.append(f"resized to {width} x {height}")
    if picture.mode.endswith("A") and picture.getchannel("A").getextrema()[0] < 255:
        picture, ground = _opaque(picture, channels)
        done.append(f"what is transparent made {ground}")
    if channels == 1 and picture.mode not in ("L", "LA"):
        done.append("made grey")
    pixels = np.asarray(picture.convert("L" if channels == 1 else "RGB"), dtype=np.float32) / 255
    image = torch.from_numpy(pixels.reshape(height, width, channels)).permute(2, 0, 1).contiguous()
    if channels == 1 and image.mean() > 0.5:
        image = 1 - image
        done.append("inverted, because it was mostly light and these images are light on dark")
    return image, ", ".join(done)


def _middle(size: tuple[int, int], proportions: tuple[int, int]) -> tuple[int, int, int, int]:
    """The largest box of those proportions in the middle of a picture: left, upper, right, lower."""
    width = min(size[0], max(1, round(size[1] * proportions[0] / proportions[1])))
    height = min(size[1], max(1, round(size[0] * proportions[1] / proportions[0])))
    left, upper = (size[0] - width) // 2, (size[1] - height) // 2
    return left, upper, left + width, upper + height


def _opaque(picture: Image.Image, channels: int) -> tuple[Image.Image, str]:
    """A picture with transparency on white, or, for 1 channel, on whatever the drawing stands out from."""
    white = True
    if channels == 1:
        grey, alpha = np.asarray(picture.convert("LA"), dtype=np.float64).transpose(2, 0, 1)
        white = bool((grey * alpha).sum() < 127.5 * alpha.sum())  # what is drawn is dark
    ground = Image.new("RGBA", picture.size, (255, 255, 255, 255) if white else (0, 0, 0, 255))
    return Image.alpha_composite(ground, picture.convert("RGBA")).convert("RGB"), "white" if white else "black"


def _check_shape(shape: tuple[int, ...]) -> None:
    if len(shape) != 3 or shape[0] not in (1, 3) or min(shape[1:]) < 2:
        text = " x ".join(map(str, shape))
        raise ValueError(f"a picture has 1 or 3 channels and at least 2 x 2 pixels, got {text}")
