"""The pictures of slices, against logits whose classes are known."""

import base64
import io
import math

import numpy as np
import pytest
import torch
from PIL import Image

from trs_explorer.models import build
from trs_explorer.web.figures import CLASS_COLOURS
from trs_explorer.web.slice_picture import GREY, INK, slice_pictures

N = 9


def mean(logits):
    return logits.log_softmax(-1).logsumexp(0) - math.log(len(logits))


def halves(sure=30.0):
    """Two members on a grid of 9 x 9: the first sees 3 in columns from 4 on, else 1; the second 2 in rows from 6 on, else 1."""
    logits = np.zeros((N, N, 2, 5), dtype=np.float32)
    logits[:, :4, 0, 1] = logits[:, 4:, 0, 3] = sure
    logits[:6, :, 1, 1] = logits[6:, :, 1, 2] = sure
    return logits


def pixels(picture):
    head, _, body = picture.uri.partition(",")
    assert head == "data:image/png;base64"
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(body))))


def rgb(number):
    return [int(CLASS_COLOURS[number][k : k + 2], 16) for k in (1, 3, 5)]


def test_colours_are_the_classes_and_the_first_row_is_the_highest():
    first, second, _ = slice_pictures(halves(), mean, scale=2)
    seen = pixels(first)
    assert seen.shape == (2 * (N - 1), 2 * (N - 1), 3)  # the square exactly: the outer points have half a cell inside
    assert seen[0, 0].tolist() == seen[-1, 0].tolist() == rgb(1)
    assert seen[0, -1].tolist() == rgb(3)
    seen = pixels(second)
    assert [seen[0, 0].tolist(), seen[-1, -1].tolist()] == [rgb(2), rgb(1)]


def test_a_dark_line_is_where_the_class_changes_and_nowhere_else():
    first = pixels(slice_pictures(halves(), mean, scale=2)[0])
    dark = (first == np.array(INK)).all(-1)
    assert dark.any(0).tolist() == [5 <= column < 7 for column in range(2 * (N - 1))]  # point 3, whose right neighbour differs
    assert (dark.all(0) == dark.any(0)).all()


def test_the_last_picture_is_what_the_members_vote():
    ensemble = build("mlp", "bars", 3, seed=0)
    logits = 4 * np.random.default_rng(0).normal(size=(N, N, 3, 2)).astype(np.float32)
    *_, last = slice_pictures(logits, ensemble.vote)
    share = torch.from_numpy(logits).softmax(-1).mean(2)  # the vote, the long way
    assert last.counts == {c: int((share.argmax(-1) == c).sum()) for c in (0, 1)}


def test_less_sure_is_paler():
    sure, unsure = (pixels(slice_pictures(halves(s), mean)[0])[0, 0] for s in (30.0, 0.5))
    assert (unsure >= sure).all()
    assert unsure.sum() > sure.sum() + 60
    none = pixels(slice_pictures(halves(0.0), mean)[0])[0, 0]  # all classes alike: the palest
    assert none.tolist() == [round(v + 0.6 * (255 - v)) for v in rgb(0)]


def test_labels_are_in_a_patch_of_their_class():
    first, second, both = slice_pictures(halves(), mean)
    assert {c: across < 0.5 for c, across, _ in first.labels} == {1: True, 3: False}
    assert {c: up > 0.6 for c, _, up in second.labels} == {1: False, 2: True}
    assert first.counts == {1: 4 * N, 3: 5 * N}
    assert sum(both.counts.values()) == N * N


def test_no_class_is_grey_and_gets_no_label():
    logits = halves()
    logits[:5, :3, 0] = np.nan
    first, _, both = slice_pictures(logits, mean)
    assert pixels(first)[-1, 0].tolist() == list(GREY)
    assert first.counts[-1] == both.counts[-1] == 15
    assert -1 not in {c for c, *_ in first.labels}


def test_more_classes_than_colours_begin_anew():
    logits = np.zeros((N, N, 1, 13), dtype=np.float32)
    logits[..., 12] = 40
    picture = slice_pictures(logits, mean)[0]
    assert pixels(picture)[0, 0].tolist() == rgb(2)
    assert [c for c, *_ in picture.labels] == [12]


def test_a_scale_without_a_half_is_refused():
    with pytest.raises(ValueError, match="even number of pixels, got 3"):
        slice_pictures(halves(), mean, scale=3)
