"""The way an attack takes: the images it shows the model, one after the other."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from trs_explorer.attacks.model_state import eval_mode
from trs_explorer.attacks.noise import draw_seeds
from trs_explorer.attacks.search import transfer_kwargs
from trs_explorer.evaluation.accuracy import right
from trs_explorer.explore.planes import OneImage
from trs_explorer.explore.turns import one_thread
from trs_explorer.gradients import Images
from trs_explorer.models.ensemble import Ensemble
from trs_explorer.models.recording import RecordingModel

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


class _Apart(Exception):
    """The attack does not keep its batch together."""


class _SideBySide(nn.Module):
    """An ensemble's members and itself, each looking at its own row of the batch; it writes down what they are shown.

    So the attacks on all of them are one: at one image each, half of an attack's time is what it does between two passes.
    """

    def __init__(self, ensemble: Ensemble) -> None:
        super().__init__()
        self.models = nn.ModuleList([*ensemble.members, ensemble])
        self.visited: list[Tensor] = []

    def forward(self, x: Images) -> Tensor:
        if len(x) == 1:  # a look at the output's shape
            return self.models[0](x)
        if len(x) != len(self.models):
            raise _Apart
        self.visited.append(x.detach().clone())
        return torch.cat([model(image) for model, image in zip(self.models, x.split(1), strict=True)])

    @property
    def member_logits(self) -> None:
        """Asked for by attacks that look into the ensemble: they get each model by itself."""
        raise _Apart


def attack_path(model: nn.Module, x: OneImage, y: OneLabel, attack: Callable, **arguments: object) -> Path:
    """The path of attack(model, x, y, **arguments), for one image; restarts follow one another.

    Any attack works that looks at its iterates through model(...): of a batch of several candidates, the first is recorded.
    """
    visited: list[Tensor] = []
    recorder = RecordingModel(model, lambda x: visited.append(x[0].detach().clone()))  # a copy: an attack may go on in place
    x_adv = attack(recorder, x, y, **arguments)
    return _path(model, x, y, [*visited, x_adv[0]], targeted=bool(arguments.get("targeted")))


def paths(ensemble: Ensemble, x: OneImage, y: OneLabel, attack: Callable, *, seed: int, **arguments: object) -> list[Path]:
    """The attack's path on every member, then on the ensemble, with noise from the seed.

    An attack that has an `early_stop` goes on to the highest loss, as in the transfer matrix.
    """
    together = _SideBySide(ensemble)
    arguments = {**transfer_kwargs(attack), **arguments}
    count, targeted = len(together.models), bool(arguments.get("targeted"))
    with one_thread():
        try:
            generator = torch.Generator().manual_seed(seed)
            x_adv = attack(together, x.repeat(count, 1, 1, 1), y.repeat(count), generator=generator, **arguments)
        except _Apart:
            return [path_on(ensemble, number, x, y, attack, seed=seed, **arguments) for number in range(count)]
        return [
            _path(model, x, y, [*(batch[k] for batch in together.visited), x_adv[k]], targeted=targeted)
            for k, model in enumerate(together.models)
        ]


def path_on(
    ensemble: Ensemble, number: int, x: OneImage, y: OneLabel, attack: Callable, *, seed: int, **arguments: object
) -> Path:
    """One of `paths`, with the same noise: that on member `number`, or, after the last of them, on the ensemble."""
    generator = torch.Generator().manual_seed(seed)
    draw_seeds(number, 1, generator)  # those of the models before it
    with one_thread():
        model = [*ensemble.members, ensemble][number]
        return attack_path(model, x, y, attack, generator=generator, **{**transfer_kwargs(attack), **arguments})


def _path(model: nn.Module, x: OneImage, y: OneLabel, images: list[Tensor], *, targeted: bool) -> Path:
    """The path through images, of which the last came back from the attack."""
    visited = [x[0]]
    for image in images:
        if not torch.equal(image, visited[-1]):
            visited.append(image)
    x_adv = images[-1][None]
    with eval_mode(model), torch.no_grad():
        hit = bool(right(model(x_adv), y))
    return Path(torch.stack(visited), x_adv, hit if targeted else not hit)
