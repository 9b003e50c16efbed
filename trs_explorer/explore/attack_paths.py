"""Attack paths: the images that an attack passes to the model, one after the other."""

import inspect
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from trs_explorer.attacks.noise import draw_seeds
from trs_explorer.attacks.options import transfer_kwargs
from trs_explorer.evaluation.accuracy import right
from trs_explorer.explore.compute_lock import one_thread
from trs_explorer.explore.planes import OneImage
from trs_explorer.explore.slices import is_heavy
from trs_explorer.gradients import Images, log_odds
from trs_explorer.models.ensemble import Ensemble
from trs_explorer.models.eval_mode import eval_mode
from trs_explorer.models.recording import RecordingModel

OneLabel = Int64[Tensor, "1"]
BATCH = 256  # images in one forward pass


@dataclass(frozen=True, eq=False)
class AttackPath:
    """The images that an attack on one image visited.

    images: from x itself to x_adv, in order of visit, without immediate repetitions.
    x_adv: where the path ends: at what the attack returned, not always the last image visited but the best one. An attack that
        fails returns x: its path ends at the visited image of highest loss, which shows how far it came.
    fooled: whether the model misclassifies x_adv (or, if targeted, predicts the target), checked independently of the attack.
    """

    images: Float[Tensor, "visit channel height width"]
    x_adv: OneImage
    fooled: bool


class _NotBatchable(Exception):
    """The attack cannot run on all models as one batch."""


class _SideBySide(nn.Module):
    """An ensemble's members and the ensemble itself as one model: each classifies its own row of the batch, which is recorded.

    The attacks on all of them are then one attack: for single images, half of an attack's time is spent between two passes.
    """

    def __init__(self, ensemble: Ensemble) -> None:
        super().__init__()
        self.ensemble = ensemble
        self.models = nn.ModuleList([*ensemble.members, ensemble])
        self.visited: list[Tensor] = []

    def forward(self, x: Images) -> Tensor:
        if len(x) == 1:  # the attack checks the output's shape
            return self.models[0](x)
        if len(x) != len(self.models):
            raise _NotBatchable
        self.visited.append(x.detach().clone())
        # A member sees its own row and the ensemble's, in one pass.
        logits = self.ensemble.member_logits([torch.cat([image, x[-1:]]) for image in x[:-1].split(1)])
        return torch.cat([logits[:, 0], self.ensemble.vote(logits[:, 1:])])

    @property
    def member_logits(self) -> None:
        """Used by attacks on the members of an ensemble, which need each model separately."""
        raise _NotBatchable

    @property
    def feature_layers(self) -> None:
        """Used by attacks on features, which need each model separately."""
        raise _NotBatchable


def attack_path(model: nn.Module, x: OneImage, y: OneLabel, attack: Callable, **kwargs: object) -> AttackPath:
    """Record the path of attack(model, x, y, **kwargs) on one image; restarts follow one another.

    Works for every attack that evaluates its iterates with model(...). Of a batch of several candidates, the first is recorded.
    Images outside the attack's ball are left out: they are no iterates, but transformed copies at which di2 takes gradients.
    """
    visited: list[Tensor] = []
    recorder = RecordingModel(model, lambda x: visited.append(x[0].detach().clone()))  # a copy: attacks may work in place
    x_adv = attack(recorder, x, y, **kwargs)
    return _path(model, x, y, _in_ball(visited, x, attack, kwargs), x_adv, targeted=bool(kwargs.get("targeted")))


def attack_paths(
    ensemble: Ensemble, x: OneImage, y: OneLabel, attack: Callable, *, seed: int, together: bool = True, **kwargs: object
) -> list[AttackPath]:
    """Record the attack's path on every member, then on the ensemble, with noise from the seed.

    An attack with an `early_stop` continues to the highest loss, as in the transfer matrix.
    together: attack all models as one batch, which not every attack of others can do.
    """
    side_by_side = _SideBySide(ensemble)
    kwargs = {**transfer_kwargs(attack), **kwargs}
    count, targeted = len(side_by_side.models), bool(kwargs.get("targeted"))
    with _threads(ensemble, x):
        try:
            if not together:
                raise _NotBatchable
            generator = torch.Generator().manual_seed(seed)
            x_adv = attack(side_by_side, x.repeat(count, 1, 1, 1), y.repeat(count), generator=generator, **kwargs)
        except _NotBatchable:
            return [attack_path_on(ensemble, number, x, y, attack, seed=seed, **kwargs) for number in range(count)]
        visited = [[batch[k] for batch in side_by_side.visited] for k in range(count)]
        return [
            _path(model, x, y, _in_ball(images, x, attack, kwargs), result[None], targeted=targeted)
            for model, images, result in zip(side_by_side.models, visited, x_adv, strict=True)
        ]


def attack_path_on(
    ensemble: Ensemble, number: int, x: OneImage, y: OneLabel, attack: Callable, *, seed: int, **kwargs: object
) -> AttackPath:
    """Record one of `attack_paths`, with the same noise: on member `number`, or on the ensemble if it is one past the last."""
    generator = torch.Generator().manual_seed(seed)
    draw_seeds(number, 1, generator)  # skip the draws of the models before it
    with _threads(ensemble, x):
        model = [*ensemble.members, ensemble][number]
        return attack_path(model, x, y, attack, generator=generator, **{**transfer_kwargs(attack), **kwargs})


def _threads(ensemble: Ensemble, x: OneImage) -> AbstractContextManager[None]:
    """One thread for small models, where cores would wait for one another after every operation; all of them for heavy ones."""
    return nullcontext() if is_heavy(ensemble, x[0]) else one_thread()


def _in_ball(images: list[Tensor], x: OneImage, attack: Callable, kwargs: Mapping[str, object]) -> list[Tensor]:
    """The images within the radius of an attack on x; all of them if it has no radius."""
    options = {**getattr(inspect.unwrap(attack), "keywords", {}), **kwargs}
    eps, order = options.get("eps"), 2 if options.get("norm") == "l2" else torch.inf
    if not isinstance(eps, int | float):
        return images
    return [image for image in images if torch.linalg.vector_norm((image - x[0]).flatten(), order) <= eps + 1e-5]


def _path(model: nn.Module, x: OneImage, y: OneLabel, images: list[Tensor], x_adv: OneImage, *, targeted: bool) -> AttackPath:
    """Build the path through the images that an attack visited to its result, or to the best of them if it has failed."""
    fooled = _fools(model, x_adv, y, targeted=targeted)
    if not fooled and images and torch.equal(x_adv, x):
        x_adv = _highest_loss(model, images, y, targeted=targeted)
        fooled = _fools(model, x_adv, y, targeted=targeted)
    visited = [x[0]]
    for image in [*images, x_adv[0]]:
        if not torch.equal(image, visited[-1]):
            visited.append(image)
    return AttackPath(torch.stack(visited), x_adv, fooled)


def _fools(model: nn.Module, x_adv: OneImage, y: OneLabel, *, targeted: bool) -> bool:
    with eval_mode(model), torch.no_grad():
        return bool(right(model(x_adv), y)) == targeted


def _highest_loss(model: nn.Module, images: list[Tensor], y: OneLabel, *, targeted: bool) -> OneImage:
    """Return the image of highest loss, by the log-odds; if targeted, of lowest loss towards y. The last one of equal ones."""
    stacked = torch.stack(images)
    with eval_mode(model), torch.no_grad():
        odds = torch.cat([log_odds(model(part), y.expand(len(part))) for part in stacked.split(BATCH)])
    loss = (-odds if targeted else odds).nan_to_num(nan=-torch.inf)
    return stacked[(loss == loss.max()).nonzero()[-1]]
