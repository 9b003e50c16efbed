"""The way an attack takes: the images it shows the model, one after the other."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from trs_explorer.attacks.common import eval_mode, to_the_end
from trs_explorer.evaluation.accuracy import right
from trs_explorer.explore.planes import OneImage
from trs_explorer.gradients import Images
from trs_explorer.models.ensemble import Ensemble

OneLabel = Int64[Tensor, "1"]


@dataclass(frozen=True, eq=False)
class Path:
    """What an attack on one image visited.

    images: from x itself to x_adv, in the order of the visits, without repetitions in a row.
    x_adv: what the attack returned, not always the last it tried: the best, or x where nothing fooled the model.
    fooled: whether the model has x_adv wrong (or, targeted, as wanted), judged afterwards and not by the attack.
    """

    images: Float[Tensor, "visit channel height width"]
    x_adv: OneImage
    fooled: bool


class _Recorder(nn.Module):
    """A model that writes down the first image of every batch it is shown."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self.visited: list[Tensor] = []

    def forward(self, x: Images) -> Tensor:
        self.visited += x[:1].detach().clone()  # an attack may go on in place
        return self.model(x)


def attack_path(model: nn.Module, x: OneImage, y: OneLabel, attack: Callable, **arguments: object) -> Path:
    """The path of attack(model, x, y, **arguments), for one image; restarts follow one another.

    Any attack works that looks at its iterates through model(...): of a batch of several candidates, the first is recorded.
    """
    recorder = _Recorder(model)
    x_adv = attack(recorder, x, y, **arguments)
    visited = [x[0]]
    for image in (*recorder.visited, x_adv[0]):
        if not torch.equal(image, visited[-1]):
            visited.append(image)
    with eval_mode(model), torch.no_grad():
        hit = bool(right(model(x_adv), y))
    return Path(torch.stack(visited), x_adv, hit if arguments.get("targeted") else not hit)


def paths(ensemble: Ensemble, x: OneImage, y: OneLabel, attack: Callable, *, seed: int, **arguments: object) -> list[Path]:
    """The attack's path on every member, then on the ensemble. All get the same noise, from the seed.

    An attack that has an `early_stop` goes on to the highest loss, as in the transfer matrix.
    """
    with _one_thread():
        return [
            attack_path(model, x, y, attack, generator=torch.Generator().manual_seed(seed), **{**to_the_end(attack), **arguments})
            for model in (*ensemble.members, ensemble)
        ]


@contextmanager
def _one_thread() -> Iterator[None]:
    """One image is too little for threads that must meet after every operation: on busy cores they stall for seconds."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
