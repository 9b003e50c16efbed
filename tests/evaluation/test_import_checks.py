"""Mistakes of an ensemble that was trained elsewhere: each is made on purpose and must be said; of a sound one nothing is."""

import pytest
import torch
from torch import nn

from trs_explorer.evaluation import accuracy
from trs_explorer.evaluation.trust.import_checks import check_import, in_training
from trs_explorer.models.ensemble import Ensemble
from trs_explorer.models.normalize import Normalize

CLASSES, MEAN, STD = 4, 0.5, 0.2


class Sharp(nn.Module):
    """Right on its own data: the class is the brightest quarter of the image. It expects normalised images."""

    def __init__(self, scale=6.0, order=(0, 1, 2, 3)):
        super().__init__()
        self.scale, self.order = nn.Parameter(torch.tensor(scale)), order

    def forward(self, x):
        quarters = torch.stack([x[:, 0, :2, :2], x[:, 0, :2, 2:], x[:, 0, 2:, :2], x[:, 0, 2:, 2:]], 1).mean((2, 3))
        bright = (quarters - 1.0).tanh()  # of normalised images: only the brightest quarter is above 1
        return self.scale * bright[:, list(self.order)]


def images(n=80):
    generator = torch.Generator().manual_seed(0)
    y = torch.arange(n) % CLASSES
    x = 0.3 + 0.1 * torch.rand(n, 1, 4, 4, generator=generator)
    for k, (row, column) in enumerate(((0, 0), (0, 2), (2, 0), (2, 2))):
        x[y == k, :, row : row + 2, column : column + 2] += 0.5
    return x, y


def sound(seed=0.0, **more):
    return nn.Sequential(Normalize(MEAN, STD), Sharp(6.0 + seed, **more))


def texts_of(ensemble, x, y, **more):
    return [found.warning for found in check_import(ensemble, x, y, **more) if found.warning]


def said(*members, was_training=()):
    return texts_of(Ensemble([*members]), *images(), was_training=was_training)


class Wrapped(nn.Module):
    def __init__(self, change):
        super().__init__()
        self.inner, self.change = sound(), change

    def forward(self, x):
        return self.change(self.inner, x)


def test_a_sound_ensemble_is_not_spoken_of():
    assert said(sound(), sound(1.0)) == []


class Threshold(nn.Module):
    """Answers by fixed thresholds, so that the scale of its input matters."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))

    def forward(self, x):
        level = x.mean((1, 2, 3))[:, None]
        centres = torch.tensor([-1.2, -0.4, 0.4, 1.2])
        return -20 * self.weight * (level - centres) ** 2


def levels(n=80):
    y = torch.arange(n) % CLASSES
    generator = torch.Generator().manual_seed(0)
    return (0.2 + 0.2 * y[:, None, None, None] + 0.02 * torch.rand(n, 1, 4, 4, generator=generator)), y


def test_missing_and_doubled_normalisation_are_told_apart():
    x, y = levels()
    mean, std = x.mean().item(), x.std().item()
    right = nn.Sequential(Normalize(mean, std), Threshold())
    assert texts_of(Ensemble([right]), x, y) == []
    (missing,) = texts_of(Ensemble([Threshold()]), x, y)
    assert missing.startswith("F1: it classifies 40 of 80 images correctly; of images normalised by their own mean and std 80: ")
    assert missing.endswith("its normalisation is missing. Put the one that it was trained with into it as the first layer")
    (doubled,) = texts_of(Ensemble([nn.Sequential(Normalize(mean, std), *right)]), x, y)
    assert "x * std + mean, 80: its normalisation is doubled" in doubled


def test_where_nothing_helps_what_was_tried_is_said():
    x, _ = levels()
    y = torch.randint(0, CLASSES, (len(x),), generator=torch.Generator().manual_seed(0))
    (text,) = texts_of(Ensemble([nn.Sequential(Normalize(x.mean().item(), x.std().item()), Threshold())]), x, y)
    start, _, tried = text.partition(": is this the data that it was trained on? Not better: ")
    assert start.startswith("F1: it classifies ")
    assert tried == "images normalised by their mean and std, or back; in [-1, 1] or [0, 255]; channels reversed; classes renamed"


def test_classes_in_another_order():
    (text,) = said(sound(order=(1, 2, 3, 0)))
    assert text.endswith(
        "of its own answers 80 if its classes are renamed: they are in another order than the data's. Reorder its outputs"
    )


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda inner, x: inner(x).softmax(-1), "the model returns probabilities"),
        (lambda inner, x: inner(x) + torch.randn(len(x), 1), "other outputs the second time"),
        (lambda inner, x: inner(x) + 5 * x.mean() * torch.arange(4) * (len(x) > 10), "depends on the other images of the batch"),
        (lambda inner, x: inner(x.detach()), "no gradient reaches its input"),
        (lambda inner, x: inner(x.mul(8).round() / 8), "no gradient reaches its input (a rounding"),
        (lambda inner, x: 1e5 * inner(x), "its probability rounds to 1"),
    ],
)
def test_each_mistake_is_said(change, words):
    texts = said(sound(), Wrapped(change))
    assert any(text.startswith("F2: ") and words in text for text in texts), texts
    assert not any(text.startswith("F1: ") for text in texts)


def test_batch_norm_in_training_mode_and_members_that_are_the_same():
    without_statistics = nn.Sequential(nn.BatchNorm2d(1, track_running_stats=False), Threshold())
    assert any("batch norm in training mode" in text for text in texts_of(Ensemble([without_statistics]), *levels()))
    assert said(sound(), sound(1.0), was_training=[0, 1])[0].startswith("F1, F2 came in training mode: measured in eval mode")
    assert said(sound(), sound())[-1] == "F1 and F2 give the same outputs: they are one model twice, all attacks transfer"


def test_of_a_member_that_is_accurate_all_the_same_a_clear_gain_by_other_input_is_said():
    x, y = levels()
    mean, std = x.mean().item(), x.std().item()
    accurate = nn.Sequential(Normalize(mean, std), Threshold())
    few = y.clone()
    few[:7] = (few[:7] + 1) % CLASSES  # wrong labels: no other input makes it better
    assert texts_of(Ensemble([accurate]), x, few) == []
    doubled = nn.Sequential(Normalize(mean, std), *accurate)
    right = accuracy.correct(doubled, x, y)
    kept = right | (torch.arange(len(x)) < 40)  # 40 that it has right, 20 that it has not
    (text,) = texts_of(Ensemble([doubled]), x[kept], y[kept])
    assert text.startswith(
        "F1: it classifies 40 of 60 images correctly; of images that are normalised back, x * std + mean, 60: "
    )


def test_how_many_images_each_member_has_right_is_said():
    x, y = images()
    wrong = y.clone()
    wrong[:8] = (wrong[:8] + 1) % CLASSES
    found = [*check_import(Ensemble([sound(), sound(1.0)]), x, wrong)]
    assert [(one.members, one.correct) for one in found if one.correct is not None] == [(1, 72), (2, 72)]


def test_a_frame_in_training_mode_around_modules_in_eval_mode_trains_nothing():
    framed = nn.Sequential(nn.BatchNorm2d(1).eval(), Threshold().eval()).train(False)
    framed.training = True
    inside = nn.Sequential(nn.BatchNorm2d(1), Threshold()).eval()
    inside.train()
    assert in_training(Ensemble([framed, inside, Threshold().train(), sound().eval()])) == [1, 2]
