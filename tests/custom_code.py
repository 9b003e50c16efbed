"""Code of others for tests: files that a user might write, and a way to forget what this process has been allowed."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from trs_explorer import attack_catalogue, lookup, plugins
from trs_explorer.catalogue import DATA

MINE = '''
"""What a user might bring."""
from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from annotated_types import Ge, Gt, Interval
from torch import nn

print("imported")


class Net(nn.Module):
    def __init__(self, shape, classes):
        super().__init__()
        self.hidden = nn.Linear(shape[0] * shape[1] * shape[2], 8)
        self.out = nn.Linear(8, classes)

    def forward(self, x):
        return self.out(F.relu(self.hidden(x.flatten(1))))


def spread(
    ensemble, x, y, *,
    weight: Annotated[float, Ge(0), "weight of the disagreement"] = 0.1,
    kind: Literal["variance", "none"] = "variance",
    generator,
):
    """Cross-entropy minus the variance of the members' probabilities."""
    logits = ensemble.member_logits(x)
    ce = torch.stack([F.cross_entropy(one, y) for one in logits]).mean()
    spread = weight * logits.softmax(-1).var(0).mean()
    return {"total": ce - spread, "ce": ce, "spread": -spread} if kind == "variance" else {"total": ce, "ce": ce}


def right(model, x, y, *, eps, share: Annotated[float, Gt(0), Interval(le=1), "how far"] = 1.0, steps: int = 7):
    """Move every point to the right."""
    step = torch.zeros_like(x)
    step[..., 0] = share * eps
    return (x + step).clamp(0, 1)


def fails(ensemble, x, y):
    return {"total": ensemble.member_logits(x).mean() / nothing}


def points(train):
    x = torch.rand(40 if train else 20, 1, 1, 2, generator=torch.Generator().manual_seed(int(train)))
    return x, (x[:, 0, 0, 0] > 0.5).long(), ["left", "right"]


def make_ensemble():
    torch.manual_seed(0)
    return [Net((1, 1, 2), 2) for _ in range(3)]
'''


def write_mine(folder: Path, text: str = MINE, name: str = "mine.py") -> Path:
    """Write a user's file."""
    path = folder / name
    path.write_text(text)
    return path


@contextmanager
def forgotten() -> Iterator[None]:
    """Nothing is allowed at first, and nothing of what the code inside has allowed or loaded stays."""
    before = set(plugins._allowed), plugins._runs_allowed
    known = set(DATA)
    caches = (plugins._load, plugins._module_of_file, plugins._module, plugins._entry_points)
    _forget(set(), False, caches)
    try:
        yield
    finally:
        _forget(*before, caches)
        for name in set(DATA) - known:
            del DATA[name]


def _forget(allowed: set[str], runs: bool, caches: tuple) -> None:
    plugins._allowed.clear()
    plugins._allowed.update(allowed)
    plugins._runs_allowed = runs
    plugins._objects.clear()
    for cache in (*caches, lookup._declared_method, attack_catalogue._declared_attack):
        cache.cache_clear()
