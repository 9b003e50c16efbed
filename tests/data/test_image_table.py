"""Parquet tables of encoded images, as Hugging Face's `datasets` writes them."""

import io
import json
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from trs_explorer.data.user_files import read_user_data
from trs_explorer.options import UsageError

GENERATOR = np.random.default_rng(0)
PIXELS = GENERATOR.integers(0, 256, (150, 6, 5, 3), np.uint8)  # more than are read at a time
LABELS = np.arange(150) % 3
NAMES = ["cat", "dog", "eel"]


def png(values):
    file = io.BytesIO()
    Image.fromarray(values).save(file, "PNG")
    return file.getvalue()


FILES = [png(values) for values in PIXELS]
STRUCTS = [{"bytes": raw, "path": f"{k}.png"} for k, raw in enumerate(FILES)]


def write(path, columns, features=None, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    table = pa.table(columns)
    if features is not None:
        table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    pq.write_table(table, path, **options)
    return path


FEATURES = {"image": {"_type": "Image"}, "label": {"names": NAMES, "_type": "ClassLabel"}}


def check(data, rows):
    assert np.array_equal(data.x.numpy(), PIXELS[rows].transpose(0, 3, 1, 2))
    assert np.array_equal(data.y.numpy(), LABELS[rows])


def test_a_data_set_of_hugging_face(tmp_path):
    """Two files of training images with small row groups, one of test images; names of classes in the schema."""
    for k, rows in enumerate((slice(0, 70), slice(70, 100))):
        name = f"data/train-{k:05}-of-00002.parquet"
        write(tmp_path / name, {"image": STRUCTS[rows], "label": LABELS[rows]}, FEATURES, row_group_size=16)
    write(tmp_path / "data/test-00000-of-00001-0a1b.parquet", {"image": STRUCTS[100:], "label": LABELS[100:]}, FEATURES)
    (tmp_path / "README.md").write_text("words")
    train, test = read_user_data(tmp_path, train=True), read_user_data(str(tmp_path), train=False)
    check(train, slice(0, 100))
    check(test, slice(100, 150))
    assert train.class_names == test.class_names == tuple(NAMES)
    assert train.notes == test.notes == ()
    check(read_user_data(tmp_path / "data", train=False), slice(100, 150))
    (tmp_path / "data/train-00000-of-00002.parquet").unlink()
    with pytest.raises(UsageError, match=r"1 of the 2 files such as train-00001-of-00002.* the first is number 0: get them too"):
        read_user_data(tmp_path, train=True)


def test_one_file_is_split(tmp_path):
    path = write(tmp_path / "mine.parquet", {"id": range(150), "img": FILES, "labels": LABELS})
    chosen = np.array([k for k in range(150) if k // 3 % 5 == 1])
    check(read_user_data(path, train=False), chosen)
    data = read_user_data(path, train=True)
    check(data, np.setdiff1d(np.arange(150), chosen))
    assert data.class_names == ("0", "1", "2")
    assert "there is no test split" in data.notes[0]
    check(read_user_data(tmp_path, train=False), chosen)  # by its folder


@pytest.mark.parametrize("dictionary", [False, True])
def test_texts_as_labels_are_classes_in_natural_order(tmp_path, dictionary):
    texts = pa.array([("c-10", "c-2", "a")[k] for k in LABELS])
    path = write(tmp_path / "mine.parquet", {"image": FILES, "label": texts.dictionary_encode() if dictionary else texts})
    data = read_user_data(path, train=True)
    assert data.class_names == ("a", "c-2", "c-10")
    assert data.y.tolist()[:6] == [2, 1, 0, 2, 1, 0]


def test_columns_with_names_of_their_own_are_found_by_the_features(tmp_path):
    features = {"photo": {"_type": "Image"}, "kind": {"names": NAMES, "_type": "ClassLabel"}, "thumb": {"_type": "Value"}}
    path = write(tmp_path / "mine.parquet", {"thumb": FILES[::-1], "photo": STRUCTS, "kind": LABELS}, features)
    data = read_user_data(path, train=False)
    check(data, np.array([k for k in range(150) if k // 3 % 5 == 1]))
    assert data.class_names == tuple(NAMES)


@pytest.mark.parametrize("metadata", [b"{", b"[]", b'{"info": 3}', b'{"info": {"features": [1]}}', b"[" * 99999, b"\xff"])
def test_damaged_features_are_as_none(tmp_path, metadata):
    table = pa.table({"image": FILES[:6], "label": LABELS[:6]}).replace_schema_metadata({"huggingface": metadata})
    pq.write_table(table, tmp_path / "mine.parquet")
    assert read_user_data(tmp_path / "mine.parquet", train=False).class_names == ("0", "1", "2")


def test_files_of_no_split_are_said_and_a_size_can_be_given(tmp_path):
    for name in ("train", "test", "more"):
        write(tmp_path / f"{name}.parquet", {"image": FILES[:6], "label": LABELS[:6]})
    data = read_user_data(tmp_path, train=True, size=(3, 3))
    assert data.x.shape == (6, 3, 3, 3)
    assert data.notes[0] == "not used: more.parquet"
    assert "6 of 6 images were cropped" in data.notes[1]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"label": LABELS}, r"mine\.parquet has no column of images' bytes \(image, .*only label \(int64\): rename it"),
        ({"image": FILES}, r"has no column of labels \(label, "),
        ({"image": FILES, "label": [[k] for k in LABELS]}, r"label: labels must be whole numbers or texts, got list<"),
        ({"image": FILES, "label": [None, *LABELS[1:]]}, "label: 1 rows have no label: remove them"),
        ({"image": FILES, "label": LABELS - 1}, "label: labels must be >= 0, got -1"),
        ({"image": FILES, "label": [str(k) for k in range(150)]}, "has one image per class"),
        ({"image": FILES * 7, "label": [str(k) for k in range(1050)]}, "has 1,050 different texts: at most 1,000"),
        ({"image": [*FILES[:149], None], "label": LABELS}, "row 149 has no image"),
        ({"image": [*STRUCTS[:70], {"path": "/etc/passwd"}, *STRUCTS[71:]], "label": LABELS}, "row 70 .*only the path"),
        ({"image": [*FILES[:66], FILES[66][:60], *FILES[67:]], "label": LABELS}, r"row 66 is damaged .*: replace or remove it"),
        ({"image": [*FILES[:66], b"", *FILES[67:]], "label": LABELS}, "row 66 is not an image of PNG"),
        ({"image": pa.array([], pa.binary()), "label": LABELS[:0]}, "there are no labels"),
        ({"image": FILES, "label": LABELS * 0}, r"has 1 class\(es\)"),
    ],
)  # fmt: skip
def test_tables_that_are_refused(tmp_path, columns, message):
    path = write(tmp_path / "mine.parquet", columns)
    with pytest.raises(UsageError, match=message):
        read_user_data(path, train=True)


def test_the_names_of_the_schema_are_fewer_than_the_labels(tmp_path):
    features = {"label": {"names": NAMES[:2], "_type": "ClassLabel"}}
    path = write(tmp_path / "mine.parquet", {"image": FILES, "label": LABELS}, features)
    with pytest.raises(UsageError, match="there are 2 class names but a label 2"):
        read_user_data(path, train=True)


def test_files_that_do_not_belong_together(tmp_path):
    write(tmp_path / "train.parquet", {"image": FILES, "label": LABELS})
    write(tmp_path / "test.parquet", {"image": FILES, "labels": LABELS})
    with pytest.raises(UsageError, match=r"test\.parquet has no column label, as other files have"):
        read_user_data(tmp_path, train=True)
    write(tmp_path / "test.parquet", {"image": FILES, "label": [NAMES[k] for k in LABELS]})
    with pytest.raises(UsageError, match="labels are texts in one split and numbers in the other"):
        read_user_data(tmp_path, train=True)
    write(tmp_path / "plain" / "train.parquet", {"image": FILES, "label": LABELS})
    with pytest.raises(UsageError, match=r"holds tables in several folders, \., plain: give one of them"):
        read_user_data(tmp_path, train=True)


def test_every_truncation_is_refused(tmp_path):
    path = write(tmp_path / "mine.parquet", {"image": FILES[:6], "label": LABELS[:6]})
    whole = path.read_bytes()
    for keep in {*range(0, len(whole), 29), len(whole) - 1, len(whole) - 5}:
        path.write_bytes(whole[:keep])
        with pytest.raises(UsageError, match=r"mine\.parquet is"):
            read_user_data(path, train=True)


def test_flipped_bytes_give_data_or_an_error_in_words(tmp_path):
    path = write(tmp_path / "mine.parquet", {"image": FILES[:6], "label": LABELS[:6]})
    whole, refused = path.read_bytes(), []
    for position in range(4, len(whole), 31):
        damaged = bytearray(whole)
        damaged[position] ^= 0x55
        path.write_bytes(damaged)
        try:
            read_user_data(path, train=True)
        except UsageError as error:
            refused.append(str(error))
    assert len(refused) > 10
    assert all("mine.parquet" in message for message in refused)


def test_without_pyarrow_the_way_out_is_said(tmp_path, monkeypatch):
    path = write(tmp_path / "mine.parquet", {"image": FILES, "label": LABELS})
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    for name in (path, tmp_path):
        with pytest.raises(UsageError, match=r"needs pyarrow: pip install 'trs-explorer\[parquet\]'"):
            read_user_data(name, train=True)
