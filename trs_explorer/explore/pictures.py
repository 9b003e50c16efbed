"""Pictures: images as PNG, the difference of two images, and uploaded picture files as images. Uses Pillow."""

import base64
import io

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from trs_explorer.data.encoded_images import centred_box, decode_upright
from trs_explorer.options import UsageError

Picture = Float[Tensor, "channel height width"]

FORMATS = ("PNG", "JPEG", "GIF", "BMP", "WEBP")
MAX_FILE = 2 << 20  # bytes
MAX_SIDE = 4096  # pixels
FACTORS = (0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)


def png(image: Picture, scale: int = 1) -> bytes:
    """Encode an image as PNG, each pixel drawn as scale x scale. Values are clipped to [0, 1]; NaN is black.

    Raises: ValueError unless it has 1 or 3 channels and at least 2 x 2 pixels: a point in the plane is no picture.
    """
    _check_shape(tuple(image.shape))
    pixels = (image.detach().cpu().nan_to_num().clamp(0, 1) * 255).round().to(torch.uint8).permute(1, 2, 0).squeeze(-1)
    picture = Image.fromarray(pixels.contiguous().numpy())
    if scale != 1:
        picture = picture.resize((picture.width * scale, picture.height * scale), Image.Resampling.NEAREST)
    file = io.BytesIO()
    picture.save(file, "PNG")
    return file.getvalue()


def thumbnail(picture: Picture, most: int) -> bytes:
    """Return a PNG of a picture, scaled down by area averaging if a side is longer than `most` pixels. Raises as `png`."""
    full = png(picture)
    longest = max(picture.shape[1:])
    if longest <= most:
        return full
    with Image.open(io.BytesIO(full)) as opened:
        size = [max(1, round(side * most / longest)) for side in opened.size]
        small = opened.resize((size[0], size[1]), Image.Resampling.BOX)
    file = io.BytesIO()
    small.save(file, "PNG")
    return file.getvalue()


def data_uri(raw: bytes) -> str:
    """Return a data URI with the bytes of a PNG."""
    return "data:image/png;base64," + base64.b64encode(raw).decode()


def difference(clean: Picture, adversarial: Picture, factor: float | None = None) -> tuple[Picture, str]:
    """Return the perturbation as a picture, 0.5 + factor * (adversarial - clean), and a description with the factor.

    factor: by default the largest of FACTORS that clips nothing; give one to share it among pictures.
    """
    change = adversarial.detach() - clean.detach()
    largest = float(change.abs().max())
    if factor is None:
        factor = max((f for f in FACTORS if f * largest <= 0.5), default=FACTORS[0]) if largest else 1
    picture = (0.5 + factor * change).clamp(0, 1)
    if not largest:
        return picture, "no difference: all grey"
    legend = "lighter: pixel increased, darker: decreased"
    return picture, f"difference x {factor:g} around grey; {legend}, by at most {largest:.2g}"


def read_picture(raw: bytes, shape: tuple[int, int, int]) -> tuple[Picture, str]:
    """Convert a picture file to an image of `shape` in [0, 1], float32, and describe the conversion.

    The first frame is rotated according to its EXIF data, cropped to shape's proportions around its centre, and resized: by area
    averaging, or bilinearly when enlarged. With 3 channels, transparent areas become white. With 1 channel (light on dark in all
    our data sets) they become black or white, in contrast to the drawing, and a picture that is mostly light is inverted.
    Only FORMATS are read, up to MAX_FILE bytes and MAX_SIDE pixels per side; both are checked before decoding.
    Raises: UsageError with a one-line message for any other file, a damaged one, or a shape that is no picture's.
    """
    try:
        _check_shape(shape)
    except ValueError as error:
        raise UsageError(f"this run's data takes no picture: {error}") from None
    if len(raw) > MAX_FILE:
        raise UsageError(f"the picture has {len(raw) / 2**20:.1f} MiB: at most {MAX_FILE >> 20} MiB are allowed")
    try:
        with Image.open(io.BytesIO(raw), formats=FORMATS) as file:
            if max(file.size) > MAX_SIDE:
                size = f"{file.width} x {file.height}"
                raise UsageError(f"the picture has {size} pixels: at most {MAX_SIDE} x {MAX_SIDE} are allowed")
            picture, conversions = decode_upright(file)
    except UsageError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise UsageError(f"the picture has too many pixels: at most {MAX_SIDE} x {MAX_SIDE} are allowed") from None
    except Image.UnidentifiedImageError:
        raise UsageError(f"this file is not a readable picture: choose one of {', '.join(FORMATS)}") from None
    except Exception as error:  # decoders raise all kinds of errors for damaged files
        reason = next(iter(str(error).splitlines()), "") or type(error).__name__
        raise UsageError(f"the picture is damaged: {reason[:120]}") from error
    return _fit(picture, shape, conversions)


def _fit(picture: Image.Image, shape: tuple[int, int, int], conversions: list[str]) -> tuple[Picture, str]:
    channels, height, width = shape
    box = centred_box(picture.size, (width, height))
    if box != (0, 0, *picture.size):
        conversions.append(
            "cropped to the central square"
            if width == height
            else f"cropped to the central {box[2] - box[0]} x {box[3] - box[1]}"
        )
        picture = picture.crop(box)
    if picture.size != (width, height):
        shrinks = picture.width >= width
        picture = picture.resize((width, height), Image.Resampling.BOX if shrinks else Image.Resampling.BILINEAR)
        conversions.append(f"resized to {width} x {height}")
    if picture.mode.endswith("A") and picture.getchannel("A").getextrema()[0] < 255:
        picture, background = _opaque(picture, channels)
        conversions.append(f"transparent areas made {background}")
    if channels == 1 and picture.mode not in ("L", "LA"):
        conversions.append("converted to grey")
    pixels = np.asarray(picture.convert("L" if channels == 1 else "RGB"), dtype=np.float32) / 255
    image = torch.from_numpy(pixels.reshape(height, width, channels)).permute(2, 0, 1).contiguous()
    if channels == 1 and image.mean() > 0.5:
        image = 1 - image
        conversions.append("inverted, because it was mostly light and these images are light on dark")
    return image, ", ".join(conversions)


def _opaque(picture: Image.Image, channels: int) -> tuple[Image.Image, str]:
    """Put a picture with transparency on white or, for 1 channel, on black or white in contrast to the drawing."""
    white = True
    if channels == 1:
        grey, alpha = np.asarray(picture.convert("LA"), dtype=np.float64).transpose(2, 0, 1)
        white = bool((grey * alpha).sum() < 127.5 * alpha.sum())  # the drawing is dark
    background = Image.new("RGBA", picture.size, (255, 255, 255, 255) if white else (0, 0, 0, 255))
    return Image.alpha_composite(background, picture.convert("RGBA")).convert("RGB"), "white" if white else "black"


def _check_shape(shape: tuple[int, ...]) -> None:
    if len(shape) != 3 or shape[0] not in (1, 3) or min(shape[1:]) < 2:
        text = " x ".join(map(str, shape))
        raise ValueError(f"a picture has 1 or 3 channels and at least 2 x 2 pixels, got {text}")
