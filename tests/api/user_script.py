"""What a user's script looks like to a type checker: mypy --strict checks it with the package (pyproject.toml)."""

from functools import partial
from typing import assert_type

import torch
from torch import Tensor, nn

import trs_explorer as trs


def loss(ensemble: trs.Ensemble, x: Tensor, y: Tensor, *, weight: float = 1.0) -> dict[str, Tensor]:
    total = weight * nn.functional.nll_loss(ensemble(x), y)
    return {"total": total}


def main() -> None:
    ensemble = trs.load("mnist-trs", checkpoint=36)
    assert_type(ensemble, trs.Ensemble)
    x, y = trs.load_data("mnist-trs", limit=8)
    assert_type(x, Tensor)
    rates = trs.evaluate(ensemble, x, y, attacks={"pgd": 0.3, "mine": partial(trs.attacks.mim, eps=0.3)})
    assert_type(rates["pgd"], trs.Rate)
    assert_type(rates["pgd"].accuracy, float | None)
    matrix = trs.transfer_matrix([nn.Flatten()], x.numpy(), [1, 2], attack=trs.attacks.apgd_ce, eps=0.3)
    assert_type(matrix, trs.TransferMatrix)
    trs.figures.matrix(matrix).show()
    trs.figures.slices(ensemble, x[0], 3, attack="pgd", eps=0.3).show()
    trs.figures.curves  # type: ignore[attr-defined]  # noqa: B018
    training = trs.train(loss, data=(x, y), model=lambda shape, classes: nn.Flatten(), members=2, weight=2.0, out="run")
    for event in training:
        print(event["kind"])
    assert_type(trs.attacks.pgd(ensemble, x, y, eps=0.1, steps=3), Tensor)
    trs.attacks.pgd(ensemble, x, y)  # type: ignore[call-arg]  # eps is missing
    trs.load(3)  # type: ignore[arg-type]
    trs.evaluate(ensemble, x, y, attack="pgd")  # type: ignore[call-arg]
    trs.nothing  # type: ignore[attr-defined]  # noqa: B018
    assert_type(trs.as_images([[0.0, 1.0]]), torch.Tensor)
