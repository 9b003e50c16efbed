import base64
import io
import struct
import zlib

import numpy as np
import pytest
import torch
from PIL import Image

from trs_explorer.explore.pictures import MAX_FILE, data_uri, difference, png, read_picture, thumbnail
from trs_explorer.options import UsageError

DIGIT, PHOTO = (1, 28, 28), (3, 32, 32)


def packed(pixels, kind="PNG", **options):
    """A file of that kind with those pixels (an array, or a picture)."""
    picture = pixels if isinstance(pixels, Image.Image) else Image.fromarray(np.asarray(pixels, dtype=np.uint8))
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


def random_image(*shape):
    return torch.randint(256, shape, generator=torch.Generator().manual_seed(0)) / 255


# --- out -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [DIGIT, PHOTO, (1, 2, 5)])
def test_a_png_holds_the_pixels(shape):
    image = random_image(*shape)
    pixels = np.asarray(Image.open(io.BytesIO(png(image, scale=3)), formats=["PNG"]))
    expected = (image * 255).round().numpy().transpose(1, 2, 0).squeeze().repeat(3, 0).repeat(3, 1)
    assert np.array_equal(pixels, expected)


def test_a_png_cuts_what_no_screen_shows():
    image = torch.tensor([[[-1.0, 2.0], [float("nan"), 0.5]]], requires_grad=True)
    assert np.asarray(Image.open(io.BytesIO(png(image)))).tolist() == [[0, 255], [0, 128]]


@pytest.mark.parametrize("shape", [(1, 1, 2), (2, 8, 8), (4, 8, 8)])
def test_what_is_no_picture_is_refused(shape):
    with pytest.raises(ValueError, match="a picture has 1 or 3 channels"):
        png(torch.zeros(shape))


def test_a_data_uri_is_the_png():
    raw = png(random_image(*DIGIT))
    head, _, body = data_uri(raw).partition(",")
    assert head == "data:image/png;base64"
    assert base64.b64decode(body) == raw


def test_a_difference_is_around_grey_by_a_factor_that_is_named():
    clean, change = torch.full(DIGIT, 0.5), torch.zeros(DIGIT)
    change[0, 3, 4], change[0, 5, 6] = 0.03, -0.02
    picture, words = difference(clean, clean + change)
    assert "difference x 10 " in words  # 20 x 0.03 would leave the picture
    assert "by at most 0.03" in words
    assert torch.allclose(picture, 0.5 + 10 * change, atol=1e-6)
    shared, words = difference(clean, clean + change, factor=2.0)
    assert torch.allclose(shared, 0.5 + 2 * change, atol=1e-6)
    assert "difference x 2 " in words
    picture, words = difference(torch.zeros(PHOTO), torch.ones(PHOTO))
    assert "difference x 0.5 " in words
    assert (picture == 1).all()
    picture, words = difference(clean, clean)
    assert (picture == 0.5).all()
    assert "no difference" in words


# --- in --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [DIGIT, PHOTO])
@pytest.mark.parametrize("kind", ["PNG", "BMP", "WEBP", "GIF"])
def test_a_picture_of_the_right_size_is_taken_as_it_is(shape, kind):
    image = random_image(*shape) * 0.8  # dark on average: not inverted
    if kind == "GIF":
        image = (image > 0.5).float().amax(0, keepdim=True).expand(shape) * 0.4  # has 256 colours at most
    image = (image * 255).round() / 255
    raw = packed((image * 255).numpy().transpose(1, 2, 0).squeeze(), kind, **({"lossless": True} if kind == "WEBP" else {}))
    found, words = read_picture(raw, shape)
    assert torch.allclose(found, image, atol=1e-6)
    assert found.dtype == torch.float32
    assert words.startswith(f"{shape[2]} x {shape[1]} ")
    assert kind in words
    assert "resized" not in words
    assert "cut" not in words


def test_our_own_png_comes_back():
    image = random_image(*PHOTO)
    assert torch.equal(read_picture(png(image), PHOTO)[0], image)


def test_a_wide_picture_is_cut_to_its_middle_and_every_pixel_is_the_mean_of_what_it_covers():
    pixels = np.random.default_rng(0).integers(0, 100, (56, 100))
    found, words = read_picture(packed(pixels), DIGIT)
    expected = pixels[:, 22:78].reshape(28, 2, 28, 2).mean((1, 3)) / 255
    assert np.abs(found[0].numpy() - expected).max() < 1.01 / 255  # rounded along both axes
    assert words == "100 x 56 grey PNG, cropped to the central square, resized to 28 x 28"
    tall, _ = read_picture(packed(pixels.T), DIGIT)
    assert torch.allclose(tall, found.transpose(1, 2), atol=1.01 / 255)


def test_colours_become_grey_by_luminance_and_grey_becomes_three_equal_channels():
    pixels = np.zeros((28, 28, 3))
    pixels[..., 0] = 200
    found, words = read_picture(packed(pixels), DIGIT)
    assert torch.allclose(found, torch.full(DIGIT, 0.299 * 200 / 255), atol=1 / 255)
    assert words == "28 x 28 RGB PNG, converted to grey"
    found, _ = read_picture(packed(np.full((32, 32), 255)), PHOTO)
    assert (found == 1).all()  # not inverted: photographs may be light


def test_a_dark_drawing_on_white_is_inverted_and_that_is_said():
    paper = np.full((28, 28), 255)
    paper[10:20, 12:16] = 0
    found, words = read_picture(packed(paper), DIGIT)
    assert torch.equal(found[0], torch.from_numpy(1 - paper / 255).float())
    assert "inverted" in words
    assert "inverted" not in read_picture(packed(255 - paper), DIGIT)[1]


@pytest.mark.parametrize("ink", [0, 255])
def test_ink_on_nothing_is_light_on_dark_for_digits(ink):
    pixels = np.zeros((28, 28, 4))
    pixels[10:20, 12:16] = (ink, ink, ink, 255)
    found, words = read_picture(packed(pixels), DIGIT)
    expected = torch.zeros(DIGIT)
    expected[0, 10:20, 12:16] = 1
    assert torch.allclose(found, expected, atol=1e-6)
    assert ("inverted" in words) == (ink == 0)
    assert f"transparent areas made {'white' if ink == 0 else 'black'}" in words


def test_what_is_transparent_in_a_photograph_is_white_and_half_of_it_half():
    pixels = np.zeros((32, 32, 4))
    pixels[:16], pixels[16:] = (255, 0, 0, 0), (0, 0, 255, 128)
    found, words = read_picture(packed(pixels), PHOTO)
    assert (found[:, :16] == 1).all()
    assert torch.allclose(found[:, 20, 20], torch.tensor([127, 127, 255]) / 255, atol=1.01 / 255)
    assert "transparent areas made white" in words
    pixels[..., 3] = 255
    assert "transparent" not in read_picture(packed(pixels), PHOTO)[1]


def test_a_palette_with_transparency_and_16_bits_are_read():
    picture = Image.new("P", (32, 32), 1)
    picture.putpalette([10, 20, 30, 200, 0, 0])
    picture.putpixel((3, 4), 0)
    found, words = read_picture(packed(picture, transparency=0), PHOTO)
    assert "palette" in words
    assert "transparent areas made white" in words
    expected = torch.tensor([200, 0, 0])[:, None, None].repeat(1, 32, 32) / 255
    expected[:, 4, 3] = 1
    assert torch.allclose(found, expected)
    deep = np.arange(28 * 28, dtype=np.uint16).reshape(28, 28) * 60
    found, _ = read_picture(packed(Image.fromarray(deep)), DIGIT)
    assert np.allclose(found[0].numpy(), deep / 65535, atol=0.003)


def test_the_first_frame_of_a_moving_picture_is_taken():
    frames = [Image.new("L", (28, 28), value) for value in (80, 160, 240)]
    raw = packed(frames[0], "GIF", save_all=True, append_images=frames[1:], duration=100)
    found, words = read_picture(raw, DIGIT)
    assert torch.allclose(found, torch.full(DIGIT, 80 / 255))
    assert "first frame" in words


def test_exif_turns_the_picture_upright():
    pixels = np.zeros((28, 28))
    pixels[:14] = 100
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera lay on its side: turn by 90 degrees clockwise
    found, words = read_picture(packed(pixels, exif=exif), DIGIT)
    assert torch.equal(found[0], torch.from_numpy(np.rot90(pixels, -1).copy()).float() / 255)
    assert "turned upright" in words


def test_a_cmyk_jpeg_has_its_colours():
    ink = Image.new("RGB", (64, 64), (220, 30, 30)).convert("CMYK")
    found, words = read_picture(packed(ink, "JPEG", quality=95), PHOTO)
    assert "CMYK JPEG" in words
    assert torch.allclose(found[:, 5, 5], torch.tensor([220, 30, 30]) / 255, atol=0.03)


# --- what is no picture ----------------------------------------------------------------------------------------------


def header_only(width, height):
    """A PNG that announces so many pixels and holds none."""
    chunk = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    start = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk))
    return start + struct.pack(">I", 1000) + b"IDAT"


GOOD = packed(np.arange(64 * 64 * 3).reshape(64, 64, 3) % 251)
JPEG = packed(np.arange(64 * 64 * 3).reshape(64, 64, 3) % 251, "JPEG")
TIFF = packed(np.zeros((28, 28)), "TIFF")


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b"", "not a readable picture"),
        (b"%PDF-1.7 hello", "not a readable picture: choose one of PNG"),
        (TIFF, "not a readable picture"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "not a readable picture"),
        (GOOD[: len(GOOD) // 2], "damaged"),
        (JPEG[: len(JPEG) // 2], "damaged"),
        (GOOD[:60] + b"\0" * 40 + GOOD[100:], "damaged"),
        (header_only(5000, 10), "5000 x 10 pixels: at most 4096 x 4096"),
        (header_only(10_000, 10_000), "at most 4096 x 4096"),  # Pillow's warning
        (header_only(60_000, 60_000), "at most 4096 x 4096"),  # Pillow's error
        (header_only(0, 0), "picture"),
        (GOOD + b"\0" * MAX_FILE, "2.0 MiB: at most 2 MiB"),
    ],
)
def test_what_is_no_picture_is_said_in_a_line(raw, words):
    with pytest.raises(UsageError, match=words) as error:
        read_picture(raw, DIGIT)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 200


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "BMP", "WEBP"])
def test_whatever_is_flipped_in_a_file_it_is_read_or_refused(kind):
    raw = packed(np.arange(64 * 64 * 3).reshape(64, 64, 3) % 251, kind)
    g = np.random.default_rng(0)
    for _ in range(60):
        broken = bytearray(raw)
        for place in g.integers(0, min(len(raw), 400), 3):
            broken[place] = g.integers(256)
        try:
            image, _ = read_picture(bytes(broken[: g.integers(1, len(raw) + 1)]), DIGIT)
        except UsageError:
            continue
        assert image.shape == DIGIT
        assert image.min() >= 0
        assert image.max() <= 1


def test_a_run_in_the_plane_takes_no_picture():
    with pytest.raises(UsageError, match=r"this run's data takes no picture: .*got 1 x 1 x 2"):
        read_picture(GOOD, (1, 1, 2))


def test_a_thumbnail_is_the_mean_of_the_pixels_it_covers_and_a_small_picture_stays():
    x = torch.zeros(3, 4, 8)
    x[:, :, 4:] = 1
    x[0, 0, 0] = 1  # a quarter of its block
    with Image.open(io.BytesIO(thumbnail(x, 4))) as small:
        assert small.size == (4, 2)
        assert [small.getpixel((k, 0)) for k in range(4)] == [(64, 0, 0), (0, 0, 0), (255, 255, 255), (255, 255, 255)]
    assert thumbnail(x, 8) == png(x)
    tall = torch.zeros(1, 300, 2)
    with Image.open(io.BytesIO(thumbnail(tall, 10))) as small:
        assert small.size == (1, 10)
