"""Folders of image files: every pixel of lossless formats, the one shape, what is left out, and what is refused."""

import io
import os
import re
import struct
import zlib

import numpy as np
import pytest
import torch
from PIL import Image

from trs_explorer.data import image_folder
from trs_explorer.data.encoded_images import common_shape, decode_all, from_bytes
from trs_explorer.data.user_files import read_user_data
from trs_explorer.options import UsageError

GENERATOR = np.random.default_rng(0)


def pixels(height=6, width=5, channels=3):
    return GENERATOR.integers(0, 256, (height, width, channels)[: 3 if channels > 1 else 2], np.uint8)


def save(path, values, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values).save(path, **options)
    return values


def first(folder, **more):
    """The training image of class 0 of a folder that got a second class and a test split here, and the notes."""
    for split in ("train", "test"):
        for name in ("a", "b"):
            if not (folder / split / name).exists():
                save(folder / split / name / "x.png", pixels())
    data = read_user_data(folder, train=True, **more)
    return data.x[0].numpy().transpose(1, 2, 0), data.notes


def test_classes_come_as_in_imagefolder_and_files_in_natural_order_with_every_pixel(tmp_path):
    wanted = []
    for name in ("class-10", "class-2", "class-1"):
        for file in ("10.png", "9.png", "1/5.bmp", "2.tif"):
            wanted.append((name, file, save(tmp_path / name / file, pixels())))
    order = [(name, file) for name in ("class-1", "class-10", "class-2") for file in ("1/5.bmp", "2.tif", "9.png", "10.png")]
    images = {(name, file): values for name, file, values in wanted}
    test = [("class-1", "2.tif"), ("class-10", "2.tif"), ("class-2", "2.tif")]  # the second of each
    for train, expected in ((True, [key for key in order if key not in test]), (False, test)):
        data = read_user_data(tmp_path, train=train)
        assert data.x.dtype == torch.uint8
        assert data.x.is_contiguous()
        assert data.y.tolist() == [["class-1", "class-10", "class-2"].index(name) for name, _ in expected]
        assert np.array_equal(data.x.numpy(), [images[key].transpose(2, 0, 1) for key in expected])
        assert data.class_names == ("class-1", "class-10", "class-2")
        assert len(data.notes) == 2
        assert "there is no test split" in data.notes[0]
        assert data.notes[1].endswith("ImageFolder: class 1 is class-10")


@pytest.mark.parametrize("names", [("train", "test"), ("Training", "VAL")])
def test_folders_of_splits(tmp_path, names):
    train, test = (save(tmp_path / name / "b" / "x.png", pixels()) for name in names)
    save(tmp_path / names[0] / "a" / "x.png", pixels())
    data = read_user_data(tmp_path, train=True)
    assert np.array_equal(data.x[1].numpy(), train.transpose(2, 0, 1))
    data = read_user_data(tmp_path, train=False)
    assert np.array_equal(data.x.numpy(), [test.transpose(2, 0, 1)])
    assert data.y.tolist() == [1]
    assert data.class_names == ("a", "b")


def test_a_class_may_be_called_train(tmp_path):
    for name in ("bus", "train"):
        for k in range(2):
            save(tmp_path / name / f"{k}.png", pixels())
    assert read_user_data(tmp_path, train=True).class_names == ("bus", "train")
    (tmp_path / "bus").rename(tmp_path / "test")
    assert read_user_data(tmp_path, train=True).class_names == ("test", "train")


def test_the_most_frequent_size_wins_and_the_others_are_said(tmp_path):
    for k, (height, width) in enumerate([(8, 8), (6, 5), (6, 5), (4, 10)]):
        save(tmp_path / "train" / "ab"[k % 2] / f"{k}.png", np.full((height, width, 3), 40 * k, np.uint8))
    save(tmp_path / "test" / "a" / "x.png", pixels(8, 8, channels=1))  # now both sizes are as frequent
    data = read_user_data(tmp_path, train=True)
    assert data.x.shape == (4, 3, 6, 5)
    assert [image.unique().tolist() for image in data.x] == [[0], [80], [40], [120]]
    assert data.notes == ("2 of 4 images were cropped to the proportions of, and resized to, 6 x 5 (height x width)",)
    assert read_user_data(tmp_path, train=False).x.shape == (1, 3, 6, 5)  # the training split's shape
    assert read_user_data(tmp_path, train=False, size=(3, 4)).x.shape == (1, 3, 3, 4)


def test_sizes_as_frequent_as_each_other_give_the_smallest():
    images = [from_bytes("x", encoded(pixels(*size))) for size in ((9, 2), (4, 5), (5, 4))]
    assert common_shape(images) == (3, 9, 2)
    assert common_shape(images[:0:-1]) == (3, 4, 5)
    assert common_shape(images, (7, 7)) == (3, 7, 7)


def encoded(values, kind="PNG", **options):
    file = io.BytesIO()
    (values if isinstance(values, Image.Image) else Image.fromarray(values)).save(file, kind, **options)
    return file.getvalue()


def test_a_resized_image_is_its_centre_averaged():
    """20 x 8 to 4 x 4: the middle 8 x 8, of which every pixel becomes a weighted mean; constants stay, edges are cut off."""
    wide = np.zeros((8, 20, 3), np.uint8)
    wide[:, 6:14] = 200
    x, _ = decode_all([from_bytes("x", encoded(wide))], 1, (3, 4, 4))
    assert x.unique().tolist() == [200]
    stripes = np.tile(np.array([0, 200], np.uint8), (64, 32))
    x, _ = decode_all([from_bytes("x", encoded(stripes))], 1, (1, 8, 8))
    assert (x[..., 1:-1].float() - 100).abs().max() <= 2  # without antialiasing: 0 or 200


def test_grey_images_have_one_channel_unless_some_are_in_colour(tmp_path):
    grey = save(tmp_path / "a" / "0.png", pixels(channels=1))
    for k in range(1, 4):
        save(tmp_path / "ab"[k % 2] / f"{k}.png", pixels(channels=1))
    data = read_user_data(tmp_path, train=True)
    assert np.array_equal(data.x[0].numpy(), grey[None])
    save(tmp_path / "b" / "9.png", pixels())
    data = read_user_data(tmp_path, train=True)
    assert np.array_equal(data.x[0].numpy(), np.stack([grey] * 3))
    assert "2 of 3 images are grey and were repeated over three channels" in data.notes
    assert read_user_data(tmp_path, train=False).x.shape[1] == 3


def test_kinds_of_pixels(tmp_path):
    values = pixels()
    kinds = {
        "sixteen bits": (GENERATOR.integers(0, 256, (6, 5)).astype(np.uint16) * 257, "were rounded to 8 bits"),
        "black and white": (Image.fromarray(pixels(channels=1)).convert("1"), None),
        "palette": (Image.fromarray(values).quantize(16), None),
        "opaque": (np.dstack([values, np.full((6, 5), 255, np.uint8)]), None),
    }
    for name, (image, note) in kinds.items():
        grey = name in ("sixteen bits", "black and white")
        x, notes = decode_all([from_bytes("x", encoded(image))], 1, (1 if grey else 3, 6, 5))
        image = image if isinstance(image, Image.Image) else Image.fromarray(image)
        wanted = (np.asarray(image) // 257).astype(np.uint8) if note else np.asarray(image.convert("L" if grey else "RGB"))
        assert np.array_equal(x[0].numpy().transpose(1, 2, 0).squeeze(), wanted), name
        assert notes == ([f"1 of 1 images {note}"] if note else [])


def test_cmyk_is_converted_to_rgb():
    flat = Image.new("CMYK", (5, 6), (0, 255, 255, 0))
    x, _ = decode_all([from_bytes("x", encoded(flat, "TIFF"))], 1, (3, 6, 5))
    assert x[0, :, 0, 0].tolist() == [255, 0, 0]


def test_transparency_becomes_white():
    values = np.zeros((6, 5, 4), np.uint8)
    values[2:, :, 3] = 255
    x, notes = decode_all([from_bytes("x", encoded(values))], 1, (3, 6, 5))
    assert x[0, :, :2].unique().tolist() == [255]
    assert x[0, :, 2:].unique().tolist() == [0]
    assert notes == ["1 of 1 images are partly transparent and were put on white"]
    grey = Image.fromarray(values[..., 0]).convert("LA")
    grey.putalpha(Image.fromarray(values[..., 3]))
    assert torch.equal(decode_all([from_bytes("x", encoded(grey))], 1, (1, 6, 5))[0], x[:, :1])


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "JPEG", "WEBP"])
def test_images_are_turned_upright(kind):
    values = np.zeros((16, 32, 3), np.uint8)
    values[:, :16] = 255  # white on the left; turned by a quarter, clockwise: on top
    exif = Image.Exif()
    exif[0x0112] = 6
    image = from_bytes("x", encoded(values, kind, exif=exif, **({"quality": 100} if kind in ("JPEG", "WEBP") else {})))
    assert common_shape([image]) == (3, 32, 16)
    x, notes = decode_all([image], 1, (3, 32, 16))
    assert notes == ([] if kind == "TIFF" else ["1 of 1 images were turned upright"])
    assert x[0, :, :14].min() > 240
    assert x[0, :, 18:].max() < 15


def test_of_an_animation_the_first_frame_is_taken(tmp_path):
    frames = [Image.fromarray(pixels()).quantize(8) for _ in range(3)]
    raw = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    x, notes = decode_all([from_bytes("x", raw)], 1, (3, 6, 5))
    assert np.array_equal(x[0].numpy().transpose(1, 2, 0), np.asarray(frames[0].convert("RGB")))
    assert notes == ["1 of 1 images are animations, of which the first frame was taken"]


def test_more_images_than_are_decoded_at_a_time_keep_their_order():
    values = [np.full((2, 2), k, np.uint8) for k in range(200)]
    x, _ = decode_all((from_bytes(str(k), encoded(value)) for k, value in enumerate(values)), 200, (1, 2, 2))
    assert np.array_equal(x[:, 0].numpy(), values)


def test_hidden_and_system_files_are_left_out_and_others_said(tmp_path):
    values = save(tmp_path / "train" / "a" / "x.png", pixels())
    for name in (
        ".DS_Store",
        "train/.hidden/x.png",
        "train/a/Thumbs.db",
        "train/a/._x.png",
        "train/a/.b/y.png",
        "train/__MACOSX/z",
    ):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("nothing")
    for name in ("train/labels.csv", "train/a/notes.txt"):
        (tmp_path / name).write_text("nothing")
    image, notes = first(tmp_path)
    assert np.array_equal(image, values)
    assert notes == ("2 files are no images and were left out: train/a/notes.txt, train/labels.csv",)


@pytest.mark.skipif(os.name == "nt", reason="links need rights there")
def test_links_to_folders_are_followed_but_not_in_circles(tmp_path):
    values = save(tmp_path / "elsewhere" / "x.png", pixels())
    folder = tmp_path / "data"
    save(folder / "b" / "x.png", pixels())
    save(folder / "b" / "y.png", pixels())
    (folder / "a").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "again").symlink_to(tmp_path / "elsewhere")
    data = read_user_data(folder, train=True)
    assert np.array_equal(data.x[0].numpy(), values.transpose(2, 0, 1))
    assert data.y.tolist() == [0, 1]


# What is refused


@pytest.mark.parametrize("suffix", ["png", "jpg", "gif", "bmp", "webp", "tif"])
def test_truncated_images_are_refused_by_name(tmp_path, suffix):
    path = tmp_path / "train" / "a" / f"cut.{suffix}"
    save(path, pixels(64, 64))
    whole = path.read_bytes()
    first(tmp_path)
    for keep in (0, 5, len(whole) // 3, len(whole) * 2 // 3):
        path.write_bytes(whole[:keep])
        with pytest.raises(UsageError, match=rf"cut\.{suffix} is .*: replace or remove it"):
            first(tmp_path)


def test_an_image_with_too_many_pixels_is_refused_by_its_header(tmp_path):
    path = tmp_path / "train" / "a" / "bomb.png"
    save(path, pixels())
    raw = bytearray(path.read_bytes())
    for side in (9_500, 60_000):  # Pillow warns of the first and refuses the second
        struct.pack_into(">II", raw, 16, side, side)
        struct.pack_into(">I", raw, 29, zlib.crc32(raw[12:29]))
        path.write_bytes(raw)
        with pytest.raises(UsageError, match=r"bomb\.png has more than 89,478,485 pixels: resize it"):
            first(tmp_path)


def test_pixels_of_32_bits_are_refused(tmp_path):
    (tmp_path / "train" / "a").mkdir(parents=True)
    Image.fromarray(np.zeros((6, 5), np.float32)).save(tmp_path / "train" / "a" / "f.tif")
    with pytest.raises(UsageError, match=r"f\.tif: its pixels have 32 bits"):
        first(tmp_path)


def test_what_fits_in_no_memory_is_refused_before_decoding(tmp_path, monkeypatch):
    save(tmp_path / "train" / "a" / "x.png", pixels())
    first(tmp_path)
    monkeypatch.setattr("trs_explorer.data.user_data.total_memory", lambda: 2 * 2 * 90)
    first(tmp_path)
    monkeypatch.setattr("trs_explorer.data.user_data.total_memory", lambda: 2 * 2 * 90 - 1)
    monkeypatch.setattr(image_folder, "decode_all", None)
    with pytest.raises(UsageError, match="2 images of 3x6x5: 180 bytes of memory are needed"):
        first(tmp_path)


def refused(folder, message, *, train=True):
    with pytest.raises(UsageError, match=re.escape(str(folder)) + ".*" + message):
        read_user_data(folder, train=train)


def test_folders_that_are_refused(tmp_path, monkeypatch):
    (tmp_path / "empty").mkdir()
    refused(tmp_path / "empty", r"has 0 subfolder\(s\), one for each class: 2 to 1,000 are possible")
    save(tmp_path / "flat" / "x.png", pixels())
    refused(tmp_path / "flat", r"has 0 subfolder\(s\)")
    save(tmp_path / "one" / "a" / "x.png", pixels())
    refused(tmp_path / "one", r"has 1 subfolder\(s\)")
    (tmp_path / "one" / "b").mkdir()
    refused(tmp_path / "one", r"b holds no image \(png, jpg, .*\): remove the folder, or add images")
    save(tmp_path / "one" / "b" / "x.png", pixels())
    refused(tmp_path / "one", "has one image per class")
    monkeypatch.setattr(image_folder, "MOST_FILES", 0)
    refused(tmp_path / "one", "holds more than 0 files")
    monkeypatch.setattr(image_folder, "MOST_CLASSES", 1)
    refused(tmp_path / "one", "has 2 subfolders, one for each class: at most 1")


def test_splits_that_are_refused(tmp_path):
    for name in ("test/a", "test/b"):
        save(tmp_path / name / "x.png", pixels())
    assert read_user_data(tmp_path, train=False).y.tolist() == [0, 1]
    refused(tmp_path, "has no training images, only a test split: put the folders of the classes")
    save(tmp_path / "train/b/x.png", pixels())
    save(tmp_path / "train/c/x.png", pixels())
    refused(tmp_path, "a: there is no class of that name in the training split")
    save(tmp_path / "training/b/x.png", pixels())
    refused(tmp_path, "holds both train and training: keep one")


def test_folders_and_files_without_rights(tmp_path, monkeypatch):
    for name in ("a/x.png", "a/y.png", "b/x.png"):
        save(tmp_path / name, pixels())

    def forbid(function, path):
        def forbidden(given, *more, **options):
            if str(given) == str(path):
                raise PermissionError(13, "Permission denied", str(path))
            return function(given, *more, **options)

        return forbidden

    for function, name in (("open", "a/y.png"), ("scandir", "a"), ("listdir", "")):
        with monkeypatch.context() as patch:
            patch.setattr(os, function, forbid(getattr(os, function), tmp_path / name))
            with pytest.raises(UsageError, match=re.escape(f"{tmp_path / name} cannot be read: Permission denied")):
                read_user_data(tmp_path, train=True)
