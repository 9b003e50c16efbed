"""Time our PGD against foolbox's and against plain forward-backward passes, on two shipped runs.

Run by: python tests/bench/attacks.py [--rounds N] [--json FILE]
"""

import copy
import sys
import warnings
from collections.abc import Callable

import torch
import torch.nn.functional as F
from bench_script import main
from torch import nn

from trs_explorer import data
from trs_explorer.attacks.pgd import pgd
from trs_explorer.bench.timing import interleaved
from trs_explorer.evaluation.accuracy import correct
from trs_explorer.gradients import Images, Labels
from trs_explorer.models.stored import load_ensemble
from trs_explorer.runs import open_run
from trs_explorer.shipped import folder

with warnings.catch_warnings():
    warnings.filterwarnings("ignore", message="Please import `gaussian_filter`", category=DeprecationWarning)
    import foolbox

RUNS, RADII = ("mnist-trs", "mnist-standard"), (0.1, 0.15)
STEPS, BATCH = 50, 256  # BATCH: images per batch, as in `trs evaluate`
MOST_TIME, LEAST_RATE = 0.8, 0.9  # targets: share of foolbox's time, share of the rate of plain passes
MOST_ABOVE = 1.0  # by how many points our robust accuracy may exceed foolbox's
WEAKER = "WEAKER"
TITLE = f"PGD-{STEPS}, {BATCH} MNIST images, against foolbox's and plain passes"
NOTES = [
    f"PGD-{STEPS}: l-inf, step eps/10, random start; ours as in `trs evaluate`: fooled images leave",
    "ms: against foolbox's LinfPGD on the run as loaded; it computes the weights' gradients, ours doesn't",
    "ms, frozen: against the same on a copy of the run whose weights require no gradient",
    "correct: % of the returned images, by a forward pass, over all rounds (other random starts each);",
    f"  {WEAKER} (exit status 1): ours exceeds foolbox's by more than {MOST_ABOVE:g} point",
    "passes/s: forward-backward passes of the whole batch, counted; against a plain loop of them",
]


def bench_attacks(rounds: int, show: Callable[[str], None]) -> tuple[str, list[str], list[dict]]:
    """Title, notes, and the rows of both runs: medians of that many interleaved rounds. show: told what is being measured."""
    test, rows = data.load("mnist", train=False), []
    for name in RUNS:
        ensemble, _ = load_ensemble(open_run(folder("checkpoints") / name))
        show(f"{name}, {rounds} interleaved rounds")
        rows += figures(name, ensemble, test.images(slice(0, BATCH)), test.y[:BATCH], rounds=rounds)
    return TITLE, [*NOTES, f"foolbox {foolbox.__version__}"], rows


def figures(name: str, model: nn.Module, x: Images, y: Labels, *, rounds: int) -> list[dict]:
    """The rows of a model in eval mode: times, accuracy and passes for both radii, then passes without early stopping."""
    frozen = copy.deepcopy(model).requires_grad_(False)
    ours = {eps: RepeatedAttack(our_pgd, model, x, y, eps=eps) for eps in RADII}
    theirs = {eps: RepeatedAttack(foolbox_pgd, model, x, y, eps=eps) for eps in RADII}
    theirs_frozen = {eps: RepeatedAttack(foolbox_pgd, frozen, x, y, eps=eps) for eps in RADII}
    all_steps = RepeatedAttack(our_pgd, model, x, y, eps=RADII[0], early_stop=False)
    calls: dict[str, Callable[[], None]] = {"plain": lambda: plain_passes(model, x, y), "all steps": all_steps}
    for eps in RADII:
        calls |= {f"foolbox {eps}": theirs[eps], f"ours {eps}": ours[eps], f"frozen {eps}": theirs_frozen[eps]}
    with torch.random.fork_rng(devices=[]):  # foolbox uses the global random generator
        seconds = interleaved(calls, rounds)
    plain, rows = STEPS / seconds["plain"], []
    for eps in RADII:
        what, our_seconds = f"{name}, eps {eps:g}", seconds[f"ours {eps}"]
        rows += [
            time_row(f"{what}: ms", seconds[f"foolbox {eps}"], our_seconds),
            time_row(f"{what}: ms, frozen", seconds[f"frozen {eps}"], our_seconds),
            accuracy_row(f"{what}: correct", theirs[eps].accuracy(), ours[eps].accuracy()),
            rate_row(f"{what}: passes/s", plain, ours[eps].passes() / our_seconds),
        ]
    rate = all_steps.passes() / seconds["all steps"]
    return [*rows, rate_row(f"{name}: passes/s, no early stop", plain, rate, least=LEAST_RATE)]


# --- what is timed ---------------------------------------------------------------------------------------------------


class RepeatedAttack:
    """An attack on the same images, with other random starts at every call. It keeps all adversarial images."""

    def __init__(self, attack: Callable[..., Images], model: nn.Module, x: Images, y: Labels, **options: object) -> None:
        self.attack, self.model, self.x, self.y, self.options = attack, model, x, y, options
        self.images: list[Images] = []
        self.passed = 0  # images that went forward and backward

    def __call__(self) -> None:
        """Attack once more. The hook costs microseconds."""
        with self.model.register_forward_pre_hook(self._count):
            self.images.append(self.attack(self.model, self.x, self.y, seed=len(self.images), **self.options))

    def _count(self, _: nn.Module, inputs: tuple[Images]) -> None:
        self.passed += len(inputs[0]) if inputs[0].requires_grad else 0

    def passes(self) -> float:
        """Mean number of passes of the whole batch per call."""
        return self.passed / len(self.x) / len(self.images)

    def accuracy(self) -> float:
        """The percentage of all returned images that the model classifies correctly, by a forward pass."""
        return 100 * torch.cat([correct(self.model, images, self.y) for images in self.images]).double().mean().item()


def our_pgd(model: nn.Module, x: Images, y: Labels, *, eps: float, seed: int, early_stop: bool = True) -> Images:
    """Adversarial images of our attack."""
    return pgd(model, x, y, eps=eps, steps=STEPS, early_stop=early_stop, generator=torch.Generator().manual_seed(seed))


def foolbox_pgd(model: nn.Module, x: Images, y: Labels, *, eps: float, seed: int) -> Images:
    """Adversarial images of foolbox's attack with the same budget. Seeds the global random generator."""
    torch.default_generator.manual_seed(seed)
    attack = foolbox.attacks.LinfPGD(rel_stepsize=0.1, steps=STEPS, random_start=True)
    _, images, _ = attack(foolbox.PyTorchModel(model, bounds=(0, 1), device=x.device), x, y, epsilons=eps)
    return images


def plain_passes(model: nn.Module, x: Images, y: Labels) -> None:
    """Only the passes of an attack: STEPS times forward, and the gradient of the summed cross-entropy."""
    for _ in range(STEPS):
        point = x.clone().requires_grad_()
        torch.autograd.grad(F.cross_entropy(model(point), y, reduction="sum"), point)


# --- rows ------------------------------------------------------------------------------------------------------------


def row(what: str, against: float, ours: float, ratio: float | None, target: str, met: str) -> dict:
    """A row of the table."""
    return {"what": what, "against": against, "ours": ours, "ratio": ratio, "target": target, "met": met}


def time_row(what: str, against: float, ours: float) -> dict:
    """Seconds, shown as milliseconds; lower is better."""
    ratio = ours / against
    return row(what, 1000 * against, 1000 * ours, ratio, f"<= {MOST_TIME:g} x", "yes" if ratio <= MOST_TIME else "NO")


def rate_row(what: str, against: float, ours: float, *, least: float | None = None) -> dict:
    """Passes per second. least: the target, as a share of the rate of plain passes."""
    ratio = ours / against
    target, met = ("", "") if least is None else (f">= {least:g} x", "yes" if ratio >= least else "NO")
    return row(what, against, ours, ratio, target, met)


def accuracy_row(what: str, against: float, ours: float) -> dict:
    """Robust accuracies in percent. Not about speed: timing an attack means nothing if it is weaker."""
    most = against + MOST_ABOVE
    return row(what, against, ours, None, f"<= {most:.1f}", "yes" if ours <= most else WEAKER)


if __name__ == "__main__":
    sys.exit(main("attacks", __doc__.splitlines()[0], bench_attacks))
