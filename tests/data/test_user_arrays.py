"""Images and labels from .npz, .pt and .safetensors files, pixel by pixel; and every file that is refused."""

import io
import json
import struct
import zipfile

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from trs_explorer.data import array_files, user_data
from trs_explorer.data.array_values import to_images, to_labels
from trs_explorer.data.dataset import Dataset, fingerprint
from trs_explorer.data.user_arrays import role_of
from trs_explorer.data.user_files import read_user_data
from trs_explorer.options import UsageError

GENERATOR = np.random.default_rng(0)
X = GENERATOR.integers(0, 256, (20, 3, 6, 5), np.uint8)
Y = np.arange(20) % 4
X_TEST, Y_TEST = X[:7, :, ::-1].copy(), np.array([3, 2, 1, 0, 3, 3, 1])
NAMES = ["cat", "dog", "eel", "föx"]
SPLITS = {"x_train": X, "y_train": Y, "x_test": X_TEST, "y_test": Y_TEST}


def write_npz(path, arrays, names):
    np.savez_compressed(path, **arrays, **({} if names is None else {"class_names": np.array(names)}))


def write_pt(path, arrays, names):
    torch.save({**{k: torch.from_numpy(v) for k, v in arrays.items()}, **({} if names is None else {"classes": names})}, path)


def write_safetensors(path, arrays, names):
    metadata = None if names is None else {"class_names": json.dumps(names)}
    save_file({k: torch.from_numpy(v.copy()) for k, v in arrays.items()}, path, metadata)


FORMATS = {".npz": write_npz, ".pt": write_pt, ".pth": write_pt, ".safetensors": write_safetensors}


@pytest.fixture(params=FORMATS)
def save(request, tmp_path):
    """A function that writes arrays, and names of classes, in each format, and returns the file's path."""

    def write(arrays, names=None):
        path = tmp_path / f"mine{request.param}"
        FORMATS[request.param](path, arrays, names)
        return path

    return write


def npz(tmp_path, **arrays):
    np.savez(tmp_path / "mine.npz", **arrays)
    return tmp_path / "mine.npz"


def images_of(values):
    return to_images(values, "FILE: x")


# What is read


def test_a_round_trip_keeps_every_pixel_label_and_name(save):
    path = save(SPLITS, NAMES)
    train, test = read_user_data(str(path), train=True), read_user_data(path, train=False)
    assert np.array_equal(train.x.numpy(), X)
    assert np.array_equal(train.y.numpy(), Y)
    assert np.array_equal(test.x.numpy(), X_TEST)
    assert np.array_equal(test.y.numpy(), Y_TEST)
    assert train.class_names == test.class_names == tuple(NAMES)
    assert train.notes == test.notes == ()
    Dataset("mine", train.x, train.y, 4, fingerprint(train.x, train.y))  # passes its checks


def test_one_pair_is_split_into_disjoint_parts_that_are_all_of_it(save):
    path = save({"images": X, "labels": Y})
    train, test = read_user_data(path, train=True), read_user_data(path, train=False)
    chosen = [4, 5, 6, 7]  # the second of each class: the classes come in turn
    assert np.array_equal(test.x.numpy(), X[chosen])
    assert np.array_equal(test.y.numpy(), Y[chosen])
    rest = [k for k in range(20) if k not in chosen]
    assert np.array_equal(train.x.numpy(), X[rest])
    assert np.array_equal(train.y.numpy(), Y[rest])
    assert train.class_names == ("0", "1", "2", "3")
    assert "2nd, 7th, 12th" in train.notes[0]
    assert "x_train, y_train, x_test and y_test" in train.notes[0]


@pytest.mark.parametrize("order", ["sorted", "in turn", "random"])
def test_a_fifth_of_every_class_is_held_out_in_order(order):
    y = np.repeat(np.arange(3), 100)
    y = {"sorted": y, "in turn": y.reshape(3, 100).T.ravel(), "random": GENERATOR.permutation(y)}[order]
    mask = user_data.held_out(y, "FILE")
    assert np.bincount(y[mask]).tolist() == [20, 20, 20]
    for k in range(3):
        assert mask[y == k].tolist() == [False, True, False, False, False] * 20


def test_a_class_of_one_image_is_for_training():
    assert user_data.held_out(np.array([0, 1, 1, 2]), "FILE").tolist() == [False, False, True, False]
    with pytest.raises(UsageError, match="FILE has one image per class"):
        user_data.held_out(np.array([0, 1, 2]), "FILE")


@pytest.mark.parametrize(
    ("name", "role"),
    [
        ("x_train", ("x", "train")),
        ("X_test", ("x", "test")),
        ("ytrain", ("y", "train")),
        ("train_images", ("x", "train")),
        ("labels_test", ("y", "test")),
        ("testTargets", ("y", "test")),
        ("val.labels", ("y", "validation")),
        ("training-data", ("x", "train")),
        ("data", ("x", "")),
        ("targets", ("y", "")),
        ("ids", None),
        ("x_train_raw", None),
        ("images_labels", None),
        ("train", None),
        ("conv1.weight", None),
        ("", None),
    ],
)
def test_the_names_of_arrays(name, role):
    assert role_of(name) == role


def test_tuples_of_torch_save(tmp_path):
    x, y = torch.from_numpy(X), torch.from_numpy(Y)
    torch.save((x, y), tmp_path / "pair.pt")
    assert len(read_user_data(tmp_path / "pair.pt", train=False).y) == 4
    torch.save([(x, y), (torch.from_numpy(X_TEST), torch.from_numpy(Y_TEST))], tmp_path / "pairs.pt")
    assert np.array_equal(read_user_data(tmp_path / "pairs.pt", train=False).x.numpy(), X_TEST)
    assert np.array_equal(read_user_data(tmp_path / "pairs.pt", train=True).x.numpy(), X)


def test_arrays_without_names(tmp_path):
    np.savez(tmp_path / "mine.npz", X, Y)
    data = read_user_data(tmp_path / "mine.npz", train=False)
    assert np.array_equal(data.x.numpy(), X[4:8])
    assert "arr_0 was taken as the images and arr_1 as the labels" in data.notes


def test_a_validation_split_is_the_test_split_only_if_there_is_none(tmp_path):
    arrays = {"train_images": X, "train_labels": Y, "val_images": X[:3], "val_labels": Y[:3]}
    data = read_user_data(npz(tmp_path, **arrays), train=False)
    assert np.array_equal(data.x.numpy(), X[:3])
    assert data.notes == ("the validation split serves as the test split",)
    data = read_user_data(npz(tmp_path, **arrays, test_images=X_TEST, test_labels=Y_TEST), train=False)
    assert np.array_equal(data.x.numpy(), X_TEST)
    assert data.notes == ("the validation split is not used",)


def test_a_pair_without_a_split_beside_a_test_split_is_for_training(tmp_path):
    path = npz(tmp_path, x=X, y=Y, x_test=X_TEST, y_test=Y_TEST, ids=np.arange(20))
    data = read_user_data(path, train=True)
    assert np.array_equal(data.x.numpy(), X)
    assert data.notes == ("not used: ids",)


def test_test_images_alone_can_be_tested_on(tmp_path):
    path = npz(tmp_path, x_test=X_TEST, y_test=Y_TEST)
    assert len(read_user_data(path, train=False).y) == 7
    with pytest.raises(UsageError, match=r"mine\.npz has no training images, only a test split: name the arrays x_train"):
        read_user_data(path, train=True)


def test_labels_in_a_column_and_of_any_integer_type(tmp_path):
    for kind in (np.uint8, np.int8, np.uint64, ">i4", np.float32):
        path = npz(tmp_path, x=X, y=Y.astype(kind)[:, None])
        assert read_user_data(path, train=True).y.tolist() == [*range(4), *(k % 4 for k in range(12))]


def test_names_of_classes_without_images_and_unprintable_ones(tmp_path):
    data = read_user_data(npz(tmp_path, x=X, y=Y, class_names=np.array([b"a", b"b\x1b[2J", b"", b"d", b"e"])), train=True)
    assert data.class_names == ("a", "b\\x1b[2J", "2", "d", "e")
    assert "1 of 5 classes have no image" in data.notes


def test_layouts():
    whole, notes = images_of(X)
    assert np.array_equal(whole, X)
    assert notes == []
    last, notes = images_of(X.transpose(0, 2, 3, 1).copy())
    assert np.array_equal(last, X)
    assert last.flags.c_contiguous
    assert notes == ["the last axis was taken as the channels and moved first"]
    grey, notes = images_of(X[:, 0])
    assert np.array_equal(grey, X[:, :1])
    assert notes == []
    assert np.array_equal(images_of(np.asfortranarray(X))[0], X)
    both, notes = images_of(X[:, :, :, :3])  # 3 x 6 x 3
    assert np.array_equal(both, X[:, :, :, :3])
    assert notes == ["the second axis of 20x3x6x3 was taken as the channels"]


@pytest.mark.parametrize("kind", [np.int16, np.int64, np.uint16, np.uint64, ">u4"])
def test_whole_numbers_become_bytes(kind):
    images, _ = images_of(X.astype(kind))
    assert images.dtype == np.uint8
    assert np.array_equal(images, X)


def test_true_and_false_become_255_and_0():
    images, _ = images_of(X > 99)
    assert images.dtype == np.uint8
    assert np.array_equal(images, np.where(X > 99, 255, 0))


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64, ">f8"])
def test_floats_become_float32(kind):
    values = (X / 255).astype(kind)
    images, notes = images_of(values)
    assert images.dtype == np.float32
    assert images.flags.c_contiguous
    assert np.array_equal(images, values.astype(np.float32))
    assert notes == []


def test_bfloat16_is_exact(tmp_path):
    x = (torch.from_numpy(X) / 255).bfloat16()
    torch.save({"x": x, "y": torch.from_numpy(Y)}, tmp_path / "mine.pt")
    save_file({"x": x, "y": torch.from_numpy(Y)}, tmp_path / "mine.safetensors")
    for name in ("mine.pt", "mine.safetensors"):
        assert torch.equal(read_user_data(tmp_path / name, train=False).x, x[4:8].float())


def test_rounding_errors_are_clipped_and_said():
    values = np.array([-1e-7, 0.5, 1 + 1e-6], np.float64).reshape(1, 1, 3)
    images, notes = images_of(values)
    assert images.ravel().tolist() == [0, 0.5, 1]
    assert "clipped" in notes[0]


def test_pixels_divided_twice_are_said():
    assert "divided by 255 twice" in images_of(X / 255 / 255)[1][0]


# What is refused: values


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (X.astype(np.float32), r"must lie in \[0, 1\], got \[0, 255\]: divide by 255 or store uint8"),
        (X.astype(np.float32) * 257, "divide by the largest possible value"),
        (X / 127.5 - 1, r"got \[-1, 1\]: store pixels without normalisation and make it the model's first layer"),
        (np.where(np.arange(20)[:, None, None, None] == 13, np.nan, X / 255), "image 13 holds NaN or infinity"),
        (np.where(np.arange(20)[:, None, None, None] == 13, np.inf, X / 255), "image 13 holds NaN or infinity"),
        (np.where(np.arange(20)[:, None, None, None] == 13, -np.inf, X / 255), "image 13 holds NaN or infinity"),
        (X.astype(np.uint16) * 257, r"must lie in 0 \.\. 255, got 0 \.\. 65535: divide 16-bit values by 65535"),
        (X.astype(np.int64) - 128, r"got -128 \.\. 127: store uint8"),
        (X.astype(np.int64) * 1000, "store uint8"),
        ((X > 99).astype(np.uint8), "only 0 and 1, nearly black: multiply by 255"),
        (X.astype(complex), "images must be numbers, got complex128"),
        (X.reshape(20, -1), r"must be \[n, channel, height, width\], got 20x90: reshape them"),
        (X[..., None], "got 20x3x6x5x1"),
        (X[:0], "there are no images"),
        (X[:, :, :0], "there are no images"),
        (np.float32(0.5), "got a single number"),
    ],
)
def test_images_that_are_refused(values, message):
    with pytest.raises(UsageError, match="FILE: x: .*" + message):
        images_of(np.asarray(values))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.eye(4)[Y], r"got 20x4: one-hot labels become whole numbers by y\.argmax\(1\)"),
        (Y.reshape(20, 1, 1), r"must be \[n\]"),
        (np.array(3), "got a single number"),
        (Y[:0], "there are no labels"),
        (Y - 1, "must be >= 0, got -1"),
        (Y + 0.5, r"whole numbers, got 0\.5 for image 0"),
        (np.where(Y == 2, np.nan, Y), "got nan for image 2"),
        (np.where(Y == 2, np.inf, Y), "got inf for image 2"),
        (np.array(NAMES)[Y], "got text: np.unique"),
        (Y.astype(complex), "got complex128"),
        (Y + 997, r"0 \.\. 999, got 1000"),
        (np.full(20, 2**64 - 1, np.uint64), "got 18446744073709551615"),
        (Y * 1e300, "labels must lie in"),
    ],
)
def test_labels_that_are_refused(values, message):
    with pytest.raises(UsageError, match="FILE: y: .*" + message):
        to_labels(values, "FILE: y")


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x": X, "y": Y[:19]}, r"20 images \(x\) but 19 labels \(y\)"),
        ({"x": np.array(1), "y": Y}, r"no images \(x\) but 20 labels"),
        ({**SPLITS, "x_test": X_TEST[:, :, :5]}, "x_train of 3x6x5 and x_test of 3x5x5: all images must have one shape"),
        ({"x": X}, "holds x but no labels for it: call the images x_train"),
        ({**SPLITS, "labels_val": Y}, "holds labels_val but no images for it"),
        ({**SPLITS, "train_images": X}, "holds both x_train and train_images: keep one"),
        ({f"layer{k}.weight": X for k in range(10)}, r"holds layer0\.weight, .* and 2 more: call the images"),
        ({"x": X, "y": Y + 1}, r"labels must start at 0, got 1 \.\. 4: subtract 1"),
        ({"x": X, "y": Y, "class_names": np.array(["a", "b", "c"])}, "there are 3 class names but a label 3"),
        ({"x": X, "y": Y * 0}, r"has 1 class\(es\): 2 to 1,000 are possible"),
        ({"x": X, "y": Y, "class_names": np.array(["a"] * 1001)}, "1,001 class names .*at most 1,000"),
        ({"x": X, "y": Y, "class_names": np.array(["a" * 201] * 4)}, "names of up to 201 characters"),
        ({"x": X, "y": Y, "class_names": np.array(["\x1b" * 100] * 4)}, "more than 200 characters"),
        ({}, "holds nothing"),
    ],
)
def test_arrays_that_do_not_match(tmp_path, arrays, message):
    with pytest.raises(UsageError, match=r"mine\.npz.*" + message):
        read_user_data(npz(tmp_path, **arrays), train=False)


def test_a_class_that_only_the_test_split_has_counts(tmp_path):
    path = npz(tmp_path, **{**SPLITS, "y_test": Y_TEST + 1})
    assert read_user_data(path, train=True).class_names == ("0", "1", "2", "3", "4")


# What is refused: files


@pytest.mark.slow
def test_every_truncation_is_refused(save):
    path = save({"x": X[:4, :, :2, :2], "y": Y[:4] // 2})
    whole = path.read_bytes()
    assert len(read_user_data(path, train=True).y) == 2
    for keep in {*range(0, len(whole), 23), *range(8), *range(len(whole) - 30, len(whole))}:
        path.write_bytes(whole[:keep])
        with pytest.raises(UsageError, match="mine"):
            read_user_data(path, train=True)


@pytest.mark.parametrize("name", ["mine.npz", "mine.pt"])
def test_a_wrong_checksum_is_refused(tmp_path, name):
    np.savez(tmp_path / "mine.npz", x=X, y=Y)
    write_pt(tmp_path / "mine.pt", {"x": X, "y": Y}, None)
    path = tmp_path / name
    raw = bytearray(path.read_bytes())
    raw[raw.index(X.tobytes()) + 77] ^= 4
    path.write_bytes(raw)
    with pytest.raises(UsageError, match=r"mine\.\w+ is damaged.*(CRC|checksum)"):
        read_user_data(path, train=False)


class Evil:
    def __reduce__(self):
        return print, ("run",)


def test_python_objects_are_not_unpickled(tmp_path, capsys):
    np.savez(tmp_path / "mine.npz", x=np.array([Evil()] * 20, object), y=Y)
    with pytest.raises(UsageError, match=r"mine\.npz: x holds Python objects, which are not unpickled: store a plain array"):
        read_user_data(tmp_path / "mine.npz", train=True)
    torch.save({"x": Evil(), "y": torch.from_numpy(Y)}, tmp_path / "mine.pt")
    with pytest.raises(UsageError, match=r"mine\.pt holds \S*print, more than tensors, and is not unpickled: save it by"):
        read_user_data(tmp_path / "mine.pt", train=True)
    torch.save({"x": X, "y": Y}, tmp_path / "mine.pt")
    with pytest.raises(UsageError, match=r"mine\.pt holds numpy\.\S+, more than tensors.*torch.save\({"):
        read_user_data(tmp_path / "mine.pt", train=True)
    torch.save(torch.utils.data.TensorDataset(torch.from_numpy(X)), tmp_path / "mine.pt")
    with pytest.raises(UsageError, match=r"mine\.pt holds torch\.utils\.data\.\S*TensorDataset, more than tensors"):
        read_user_data(tmp_path / "mine.pt", train=True)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (torch.from_numpy(X), "holds a Tensor, not a dict"),
        ({1: torch.from_numpy(X)}, "holds a dict, not a dict of tensors"),
        ({"epochs": 3}, "holds no tensors, only epochs"),
        ({}, "holds no tensors, only nothing"),
        ((1, 2), "holds no tensors"),
        ({"x": torch.eye(4).to_sparse(), "y": torch.arange(4)}, "x is no plain tensor"),
        ({"x": torch.zeros(4, 1, 2, 2, dtype=torch.complex64), "y": torch.arange(4) // 2}, "x is no plain tensor"),
        ({"x": torch.zeros(4, 1, 2, 2, device="meta"), "y": torch.arange(4) // 2}, "x is no plain tensor"),
        ({"x": torch.zeros(1).expand(4, 1, 1 << 20, 1 << 20), "y": torch.arange(4) // 2}, "x: 17,592,186,044,416 bytes"),
        ({"x": torch.from_numpy(X), "y": torch.from_numpy(Y), "classes": ["a"] * 1001}, "1,001 class names"),
        ({"x": torch.from_numpy(X), "y": torch.from_numpy(Y), "more": "a" * (1 << 20)}, "holds much more than tensors"),
    ],
)
def test_contents_of_torch_save_that_are_refused(tmp_path, content, message):
    torch.save(content, tmp_path / "mine.pt")
    with pytest.raises(UsageError, match=r"mine\.pt.*" + message):
        read_user_data(tmp_path / "mine.pt", train=False)


def test_parameters_are_read_as_tensors(tmp_path):
    x = torch.nn.Parameter(torch.from_numpy(X) / 255)
    torch.save({"x": x, "y": torch.from_numpy(Y)}, tmp_path / "mine.pt")
    data = read_user_data(tmp_path / "mine.pt", train=False)
    assert torch.equal(data.x, x.detach()[4:8])
    assert not data.x.requires_grad


def test_an_old_file_of_torch_save_is_refused(tmp_path):
    torch.save({"x": torch.from_numpy(X)}, tmp_path / "mine.pt", _use_new_zipfile_serialization=False)
    with pytest.raises(UsageError, match=r"mine\.pt is not a zip file of torch\.save.*save it again"):
        read_user_data(tmp_path / "mine.pt", train=False)


def test_a_size_that_is_not_the_shapes_is_refused_before_it_is_read(tmp_path):
    """A header that announces 10 TB, in a file of 300 bytes."""
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "|u1", "fortran_order": False, "shape": (10**7, 1, 10**3, 10**3)})
    with zipfile.ZipFile(tmp_path / "mine.npz", "w") as archive:
        archive.writestr("x.npy", header.getvalue() + b"\0" * 100)
    with pytest.raises(UsageError, match=r"mine\.npz: x is damaged: .* need 10,000,000,000,000 bytes"):
        read_user_data(tmp_path / "mine.npz", train=True)


def test_more_than_half_of_the_memory_is_refused_before_it_is_read(tmp_path, monkeypatch):
    path = npz(tmp_path, x=X, y=Y)
    monkeypatch.setattr(user_data, "total_memory", lambda: 2 * X.nbytes)
    assert len(read_user_data(path, train=False).y) == 4
    monkeypatch.setattr(user_data, "total_memory", lambda: 2 * X.nbytes - 1)
    with pytest.raises(
        UsageError, match=rf"mine\.npz: x: {X.nbytes:,} bytes of memory are needed, more than half .*smaller images"
    ):
        read_user_data(path, train=False)
    monkeypatch.setattr(array_files, "_numpy", None)  # comes after the tensor was read
    write_safetensors(tmp_path / "mine.safetensors", {"x": X, "y": Y.astype(np.uint8)}, None)
    file = array_files.open_arrays(tmp_path / "mine.safetensors")
    with pytest.raises(UsageError, match=rf"mine\.safetensors: x: {X.nbytes:,} bytes of memory are needed, more than half"):
        file.arrays["x"].read()
    monkeypatch.setattr(torch, "load", None)
    write_pt(tmp_path / "mine.pt", {"x": X, "y": Y}, None)
    with pytest.raises(UsageError, match=r"mine\.pt: [0-9,]+ bytes of memory are needed, more than half"):
        read_user_data(tmp_path / "mine.pt", train=False)


def test_a_member_longer_than_its_directory_says_is_refused(tmp_path):
    path = npz(tmp_path, x=X, y=Y)
    raw = bytearray(path.read_bytes())
    entry = raw.index(b"PK\x01\x02")  # the directory's entry of x: compressed size and size from byte 20 on
    size = struct.unpack_from("<I", raw, entry + 24)[0]
    struct.pack_into("<I", raw, entry + 24, size - 1)
    path.write_bytes(raw)
    with pytest.raises(UsageError, match=r"mine\.npz.* is damaged"):
        read_user_data(path, train=True)


@pytest.mark.parametrize(
    "metadata", [{"class_names": "cat, dog"}, {"classes": "[1, 2]"}, {"class_names": '{"a": 1}'}, {"class_names": "[" * 99999}]
)
def test_class_names_that_are_no_list_in_json(tmp_path, metadata):
    save_file({"x": torch.from_numpy(X), "y": torch.from_numpy(Y)}, tmp_path / "mine.safetensors", metadata)
    with pytest.raises(UsageError, match=r"mine\.safetensors: the metadata class\S+ must be a JSON list"):
        read_user_data(tmp_path / "mine.safetensors", train=True)


def test_structured_arrays_are_refused(tmp_path):
    with pytest.raises(UsageError, match="x: images must be numbers"):
        read_user_data(npz(tmp_path, x=np.zeros((20, 2, 2), "i4,f4"), y=Y), train=True)
