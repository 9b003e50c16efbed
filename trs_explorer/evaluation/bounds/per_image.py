"""What the theorems need of every image: losses, outcomes of attacks, and the extremes of the gradients in the ball around it.

All pairs of members share the gradients: one forward pass and K backward passes for each point and member, with K classes.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from trs_explorer.attacks.checks import check_images, check_radius
from trs_explorer.attacks.noise import random_shift
from trs_explorer.files import Json
from trs_explorer.gradients import MIN_NORM, Images, Labels, MemberGradients, class_gradients
from trs_explorer.models.ensemble import Ensemble
from trs_explorer.models.eval_mode import eval_mode

KEPT_BYTES = 1 << 28  # of clean gradients at a time; with more, the classes are taken in groups

Double = torch.float64


@dataclass(frozen=True, eq=False)
class PerImage:
    """What is measured of every image, as float64 and bool tensors on the CPU; E radii, M members, S surrogates (M or fewer).

    - loss [image, M]: the cross-entropy of the true class. right [image, M]: whether the member classifies the image correctly.
    - least [image, M]: the smallest loss of a class that the attack may lead to.
    - slope [image, M]: the gradient norm of the loss that the attack follows: of the true class, or of the wanted one.
    - rise [image, E, S, M]: the numerators of c_F and c_G in Theorem 1, without their beta terms.
    - fooled [image, E, S, M]: whether the attack on a surrogate fools a member.
    - beta, steepest [image, E, M]: the largest secant and the largest gradient norm among the points within the radius.
    - lowest, highest [image, E, M, M]: the extreme cosines of two members' gradients there; NaN where none has a direction.
    """

    loss: Tensor
    right: Tensor
    least: Tensor
    slope: Tensor
    rise: Tensor
    fooled: Tensor
    beta: Tensor
    steepest: Tensor
    lowest: Tensor
    highest: Tensor

    def __len__(self) -> int:
        """The number of images."""
        return len(self.loss)

    @staticmethod
    def empty(radii: int, members: int) -> "PerImage":
        """Nothing yet, of measurements in which every member is a surrogate."""
        shapes = _shapes(radii, members)
        return PerImage(**{name: torch.zeros(0, *shape, dtype=_type(name)) for name, shape in shapes.items()})

    @staticmethod
    def joined(parts: Sequence["PerImage"]) -> "PerImage":
        """The images of several parts, in that order."""
        return PerImage(**{field.name: torch.cat([getattr(part, field.name) for part in parts]) for field in fields(PerImage)})

    def to_json(self) -> Json:
        """All values, by name, as nested lists; null for a number that is not finite."""
        return {field.name: _finite(getattr(self, field.name).tolist()) for field in fields(self)}

    @staticmethod
    def from_json(stored: Json, radii: int, members: int, most: int) -> "PerImage":
        """The values that `to_json` wrote of at most `most` images; empty if they are damaged."""
        try:
            tensors = {
                name: torch.tensor(_with_nan(stored[name]), dtype=_type(name)).view(-1, *shape)
                for name, shape in _shapes(radii, members).items()
            }
        except (KeyError, TypeError, ValueError, RuntimeError, OverflowError, RecursionError):
            return PerImage.empty(radii, members)
        lengths = {len(tensor) for tensor in tensors.values()}
        whole = len(lengths) == 1 and lengths <= set(range(most + 1))
        return PerImage(**tensors) if whole else PerImage.empty(radii, members)


def _shapes(radii: int, members: int) -> dict[str, tuple[int, ...]]:
    """The shape of every value of one image."""
    single, ball, pairs = (members,), (radii, members), (radii, members, members)
    shapes = {"loss": single, "right": single, "least": single, "slope": single, "rise": pairs, "fooled": pairs}
    return {**shapes, "beta": ball, "steepest": ball, "lowest": pairs, "highest": pairs}


def _type(name: str) -> torch.dtype:
    return torch.bool if name in ("right", "fooled") else Double


def _finite(value: Any) -> Any:
    if isinstance(value, list):
        return [_finite(part) for part in value]
    return value if isinstance(value, bool) or math.isfinite(value) else None


def _with_nan(value: Any) -> Any:
    if isinstance(value, list):
        return [_with_nan(part) for part in value]
    return math.nan if value is None else value


def per_image(
    ensemble: Ensemble,
    x: Images,
    y: Labels,
    x_adv: Sequence[Sequence[Images]],
    *,
    eps: Sequence[float],
    wanted: Labels | None = None,
    seeds: Sequence[Sequence[int]] = (),
    classes: int | None = None,
    between: Callable[[float], object] = lambda share: None,
) -> PerImage:
    """Measure a batch of images; see `PerImage`.

    - x, y: images in [0, 1] and their true labels, on the ensemble's device.
    - x_adv: for every radius, the adversarial images of every surrogate, members 0, 1, ...
    - eps: the L2 radii, ascending. The points within a radius are x, the adversarial images of all surrogates and the random
      points, of this radius and of all smaller ones.
    - wanted: the classes of a targeted attack; None: untargeted.
    - seeds: for each image, one for every random point of each ball; they are clamped to [0, 1].
    - classes: of each image, how many classes' gradients are taken: the true one, the wanted one, then the likeliest. None: all.
    - between: called with the share of the work that is done.

    The gradients are those of the cross-entropy, computed as sigmoid(m) times those of the log-odds m, so that they do not vanish
    where a member is confident. Secants are taken from x to the other points. A gradient of the log-odds shorter than
    gradients.MIN_NORM has no direction.
    Raises: ValueError for invalid images or radii, or adversarial images outside the ball.
    Source: paper, Definitions 2 to 6, Theorem 1; untargeted: our derivation, by the same proof.
    """
    check_images(x, y)
    for radius, made in zip(eps, x_adv, strict=True):
        check_radius(radius)
        for images in made:
            check_images(images, y)
            _check_distance(x, images, radius)
    with eval_mode(ensemble), torch.inference_mode(False), torch.enable_grad():
        with torch.no_grad():
            logits = ensemble.member_logits(x)
            clean = class_losses(logits)
            moved = [torch.stack([class_losses(ensemble.member_logits(images)) for images in made]) for made in x_adv]
        followed = y if wanted is None else wanted
        chosen = _classes(logits, y, wanted, logits.shape[-1] if classes is None else classes)
        extremes = _Extremes(len(eps), len(ensemble), x)
        slope = torch.full((len(ensemble), len(x)), math.nan, dtype=Double, device=x.device)
        samples = len(seeds[0]) if len(seeds) else 0
        group = max(1, KEPT_BYTES // max(1, len(ensemble) * x.numel() * x.element_size()))
        groups = chosen.split(group, 1)
        per_group = 1 + sum(len(made) + samples for made in x_adv)
        done = 0

        def step() -> None:
            nonlocal done
            done += 1
            between(done / (len(groups) * per_group))

        for columns in groups:
            here = []
            for column, (losses, slopes) in zip(columns.T, class_gradients(ensemble, x, columns), strict=True):
                lengths = extremes.add(losses, slopes)
                slope = torch.where(column == followed, lengths, slope)
                here.append(losses.sigmoid()[..., None, None, None].to(x) * slopes)
            step()
            for k, made in enumerate(x_adv):
                for point in (*made, *_samples(x, seeds, eps[k])):
                    distance = _distances(point, x)
                    for start, (losses, slopes) in zip(here, class_gradients(ensemble, point, columns), strict=True):
                        extremes.add(losses, slopes, start, distance)
                    step()
                extremes.close(k)
            extremes.next_group()
    true = F.one_hot(y, clean.shape[-1]).bool()
    aims = ~true if wanted is None else F.one_hot(wanted, clean.shape[-1]).bool()
    answers = [torch.where(losses.isnan().any(-1), -1, losses.argmin(-1)) for losses in moved]
    at_followed = _at(clean, followed)
    rise = [
        at_followed - losses.masked_fill(~aims, math.inf).amin(-1) if wanted is None else losses.amin(-1) - at_followed
        for losses in moved
    ]
    values = {
        "loss": _at(clean, y),
        "right": (clean.argmin(-1) == y) & ~clean.isnan().any(-1),
        "least": clean.masked_fill(~aims, math.inf).amin(-1),
        "slope": slope,
        "rise": torch.stack(rise),
        "fooled": torch.stack([answer != y if wanted is None else answer == wanted for answer in answers]),
        "beta": extremes.beta,
        "steepest": extremes.steepest,
        "lowest": extremes.lowest.where(extremes.lowest <= 1, math.nan),
        "highest": extremes.highest.where(extremes.highest >= -1, math.nan),
    }
    return PerImage(**{name: value.movedim(-1, 0).to("cpu", _type(name)) for name, value in values.items()})


def class_losses(logits: Float[Tensor, "*any class"]) -> Float[Tensor, "*any class"]:
    """The cross-entropy of every class, in float64.

    That of the likeliest class comes from its log-odds: in -log p it is rounding error where p is nearly 1.
    """
    logits = logits.double()
    top = logits.argmax(-1, keepdim=True)
    others = logits.scatter(-1, top, -math.inf).logsumexp(-1, keepdim=True)
    return (-logits.log_softmax(-1)).scatter(-1, top, F.softplus(others - logits.gather(-1, top)))


class _Extremes:
    """The extremes over the points so far, image by image; per radius once it is closed."""

    def __init__(self, radii: int, members: int, x: Images) -> None:
        self.x = x

        def filled(value: float, *shape: int) -> Tensor:
            return torch.full((*shape, len(x)), value, dtype=Double, device=x.device)

        self.beta, self.steepest = filled(0.0, radii, members), filled(0.0, radii, members)
        self.lowest, self.highest = filled(math.inf, radii, members, members), filled(-math.inf, radii, members, members)
        self._fresh = [filled(0.0, members), filled(0.0, members), filled(math.inf, members, members)]
        self._fresh.append(-self._fresh[2])
        self.next_group()

    def next_group(self) -> None:
        """Begin anew with the points: those of other classes, whose extremes stay."""
        self.now = list(self._fresh)

    def add(
        self,
        losses: Float[Tensor, "member batch"],
        slopes: MemberGradients,
        start: MemberGradients | None = None,
        distance: Float[Tensor, " batch"] | None = None,
    ) -> Float[Tensor, "member batch"]:
        """Add a point of one class: its log-odds and their gradients. Returns the norms of the cross-entropy's gradients.

        start: the cross-entropy's gradients at x, from which secants are taken.  distance: to x.
        """
        flat = slopes.flatten(2)
        products = torch.einsum("mbd,nbd->mnb", flat, flat).double()
        lengths = torch.linalg.vector_norm(flat, dim=-1).double()
        scale = losses.double().sigmoid()
        directed = (lengths > MIN_NORM) & lengths.isfinite()
        defined = directed[:, None] & directed[None]
        cosine = (products / (lengths[:, None] * lengths[None])).clamp(-1, 1)
        beta, steepest, lowest, highest = self.now
        if start is not None and distance is not None:
            change = torch.linalg.vector_norm((scale[..., None].to(flat) * flat) - start.flatten(2), dim=-1).double()
            beta = torch.maximum(beta, torch.where(distance > 0, change / distance.double(), 0))
        self.now = [
            beta,
            torch.maximum(steepest, scale * lengths),
            torch.minimum(lowest, torch.where(defined, cosine, math.inf)),
            torch.maximum(highest, torch.where(defined, cosine, -math.inf)),
        ]
        norms: Tensor = scale * lengths
        return norms

    def close(self, k: int) -> None:
        """All points within radius k have been added."""
        for kept, now, join in zip(
            (self.beta, self.steepest, self.lowest, self.highest),
            self.now,
            (torch.maximum, torch.maximum, torch.minimum, torch.maximum),
            strict=True,
        ):
            kept[k] = join(kept[k], now)


def _classes(logits: Float[Tensor, "member batch class"], y: Labels, wanted: Labels | None, count: int) -> Int[Tensor, "batch k"]:
    """For each image the classes whose gradients are taken: the true one, the wanted one, then the likeliest by all members."""
    score = logits.log_softmax(-1).logsumexp(0).nan_to_num(-math.inf)
    for labels in (y,) if wanted is None else (y, wanted):
        score = score.scatter(-1, labels[:, None], math.inf)
    return score.topk(min(count, score.shape[-1]), -1).indices


def _samples(x: Images, seeds: Sequence[Sequence[int]], eps: float) -> Iterator[Images]:
    """The random points of the ball, one of every image at a time. The same seeds give the same directions in every ball."""
    for drawn in zip(*seeds, strict=True):
        yield (x + random_shift(x, list(drawn), eps=eps, norm="l2")).clamp(0, 1)


def _distances(a: Images, b: Images) -> Float[Tensor, " batch"]:
    distances: Tensor = torch.linalg.vector_norm((a - b).flatten(1), dim=-1)
    return distances


def _check_distance(x: Images, x_adv: Images, eps: float) -> None:
    largest = float(_distances(x_adv, x).max()) if len(x) else 0.0
    if not largest <= eps * (1 + 1e-4) + 1e-6:
        raise ValueError(f"x_adv must be images within eps = {eps:g} of x in L2, got {len(x)} up to {largest:.4g} away")


def _at(losses: Float[Tensor, "member batch class"], y: Labels) -> Float[Tensor, "member batch"]:
    return losses.gather(-1, y.expand(len(losses), -1)[..., None])[..., 0]
