"""Square: what it changes are squares, it needs no gradient, and published code at the same budget finds no more."""

import pytest
import torch
from torch import nn

from trs_explorer.attacks.noise import seeded
from trs_explorer.attacks.square import _bump, _side, square

SIZE = (8, 8)


class Recording(nn.Module):
    """A model of two classes that keeps what it is shown, and has no gradient."""

    def __init__(self, score):
        super().__init__()
        self.score, self.seen = score, []

    def forward(self, x):
        assert not torch.is_grad_enabled()
        self.seen.append(x.clone())
        return torch.stack([torch.zeros(len(x)), self.score(x) - 1e6], -1)  # nothing ever fools it


def shown(norm, score, queries=40, eps=0.1, x=None):
    model = Recording(score)
    x = torch.full((1, 2, *SIZE), 0.5) if x is None else x
    square(model, x, torch.zeros(len(x), dtype=torch.long), eps=eps, norm=norm, queries=queries, generator=seeded(0))
    return x, [one for one in model.seen if len(one) == len(x)][-queries:]


def test_in_the_max_norm_every_query_changes_one_square_to_plus_or_minus_eps() -> None:
    x, seen = shown("linf", lambda x: x.flatten(1).sum(-1))  # the brighter the better
    best = seen[0]
    torch.testing.assert_close((best - x).abs(), torch.full_like(x, 0.1))
    assert (best == best[:, :, :1]).all()  # stripes
    assert len(best[0, 0, 0].unique()) == 2
    kept = 0
    for number, image in enumerate(seen[1:], start=1):
        torch.testing.assert_close((image - x).abs(), torch.full_like(x, 0.1))
        changed = (image != best).any(1)[0]
        side = _side(0.8, number / 40, SIZE)
        if changed.any():
            rows, columns = changed.any(1).nonzero()[:, 0], changed.any(0).nonzero()[:, 0]
            assert rows[-1] - rows[0] < side
            assert columns[-1] - columns[0] < side
        if image.sum() > best.sum():
            best, kept = image, kept + 1
    assert kept >= 3
    assert best.sum() > seen[0].sum()


def test_in_l2_every_query_keeps_the_whole_length_and_moves_it() -> None:
    x, seen = shown("l2", lambda x: x.flatten(1)[:, 0], eps=0.5)
    for image in seen:
        assert 0.4 < float((image - x).norm()) <= 0.5
    assert len({tuple((image != x).flatten().tolist()) for image in seen}) > 5


def test_squares_shrink_as_the_source_says() -> None:
    assert [_side(0.8, query / 10_000, (28, 28)) for query in (0, 10, 11, 51, 201, 1001, 8001)] == [25, 25, 18, 13, 9, 4, 1]
    assert _side(0.8, 0.0, (1, 1)) == 1


def test_the_bump_has_length_one_and_two_signs() -> None:
    for side in (1, 3, 5, 8):
        bump = _bump(side)
        assert bump.shape == (side, side)
        torch.testing.assert_close(bump.norm(), torch.tensor(1.0))
        assert side == 1 or (bump.min() < 0 < bump.max())


def test_it_leaves_images_alone_once_they_are_fooled() -> None:
    counts = []

    class Model(nn.Module):
        def forward(self, x):
            counts.append(len(x))
            z = x.flatten(1).mean(-1)
            return torch.stack([torch.full_like(z, 0.55), z], -1)

    x = torch.cat([torch.full((1, 1, 8, 8), 0.5), torch.full((1, 1, 8, 8), 0.1)])
    x_adv = square(Model(), x, torch.tensor([0, 0]), eps=0.2, queries=200, generator=seeded(0))
    assert Model()(x_adv).argmax(-1).tolist() == [1, 0]
    assert torch.equal(x_adv[1], x[1])
    assert counts[-2] == 1


@pytest.mark.slow
@pytest.mark.parametrize(("norm", "eps"), [("linf", 0.25), ("l2", 2.5)])
def test_published_code_finds_no_more_on_a_shipped_run(norm, eps) -> None:
    published = pytest.importorskip("pyautoattack")
    from trs_explorer import data
    from trs_explorer.models.stored import load_ensemble
    from trs_explorer.runs import open_run
    from trs_explorer.shipped import folder

    model, _ = load_ensemble(open_run(folder("checkpoints") / "mnist-trs"))
    test = data.load("mnist", train=False)
    x, y = test.images(slice(0, 60)), test.y[:60]
    ours = square(model, x, y, eps=eps, norm=norm, queries=1000, generator=seeded(0))
    judge = published.AutoAttack(
        model, norm={"linf": "Linf", "l2": "L2"}[norm], eps=eps, version="custom", attacks=["square"], seed=0
    )
    judge.square.n_queries = 1000
    theirs, _ = judge.run_standard_evaluation(x, y)
    with torch.no_grad():
        left = [int((model(images).argmax(-1) == y).sum()) for images in (x, ours, theirs)]
    assert left[1] < left[0] - 5
    assert left[1] <= left[2] + 3  # another source of squares
