"""`trs bench attacks`: our PGD against foolbox's and against plain passes, on two runs that ship with the project."""

import copy
import warnings
from collections.abc import Callable

import torch
import torch.nn.functional as F
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
STEPS, BATCH = 50, 256  # images: what `trs evaluate` has in a batch
LONGEST, LEAST_RATE = 0.8, 0.9  # targets: of foolbox's time, and of the rate of plain passes
MOST_ABOVE = 1.0  # points of robust accuracy that ours may leave above foolbox's
WEAKER = "WEAKER"
TITLE = f"PGD-{STEPS}, {BATCH} MNIST images, against foolbox's and plain passes"
BESIDE = [
    f"PGD-{STEPS}: l-inf, step eps/10, a random start; ours as `trs evaluate` calls it, the fooled leave",
    "ms: against foolbox's LinfPGD on the run as loaded; it computes the weights' gradients, ours doesn't",
    "ms, frozen: against the same on a copy of the run whose weights ask for no gradient",
    "right: % by a forward pass on the returned images, over the rounds, each from other starts;",
    f"  {WEAKER} (exit status 1): ours leaves more than {MOST_ABOVE:g} point above foolbox's",
    "passes/s: of the batch, forward and backward, counted; against a loop of nothing else",
]


def bench_attacks(rounds: int, say: Callable[[str], None]) -> tuple[list[str], list[dict]]:
    """Lines that say what is measured, and the rows of both runs: medians of so many interleaved rounds."""
    test, rows = data.load("mnist", train=False), []
    for name in RUNS:
        ensemble, _ = load_ensemble(open_run(folder("checkpoints") / name))
        say(f"{name}, {rounds} interleaved rounds")
        rows += figures(name, ensemble, test.images(slice(0, BATCH)), test.y[:BATCH], rounds=rounds)
    return [*BESIDE, f"foolbox {foolbox.__version__}"], rows


def figures(name: str, model: nn.Module, x: Images, y: Labels, *, rounds: int) -> list[dict]:
    """The rows of a model in eval mode: for both radii times, accuracy and passes, then the passes where nobody leaves."""
    frozen = copy.deepcopy(model).requires_grad_(False)
    ours = {eps: Called(our_pgd, model, x, y, eps=eps) for eps in RADII}
    judges = {eps: Called(foolboxs_pgd, model, x, y, eps=eps) for eps in RADII}
    cheaper = {eps: Called(foolboxs_pgd, frozen, x, y, eps=eps) for eps in RADII}
    to_the_end = Called(our_pgd, model, x, y, eps=RADII[0], early_stop=False)
    calls: dict[str, Callable[[], None]] = {"plain": lambda: plain_passes(model, x, y), "to the end": to_the_end}
    for eps in RADII:
        calls |= {f"foolbox {eps}": judges[eps], f"ours {eps}": ours[eps], f"frozen {eps}": cheaper[eps]}
    with torch.random.fork_rng(devices=[]):  # foolbox draws from the global generator
        seconds = interleaved(calls, rounds)
    plain, rows = STEPS / seconds["plain"], []
    for eps in RADII:
        here, spent = f"{name}, eps {eps:g}", seconds[f"ours {eps}"]
        rows += [
            time_row(f"{here}: ms", seconds[f"foolbox {eps}"], spent),
            time_row(f"{here}: ms, frozen", seconds[f"frozen {eps}"], spent),
            right_row(f"{here}: right", judges[eps].right(), ours[eps].right()),
            rate_row(f"{here}: passes/s", plain, ours[eps].passes() / spent),
        ]
    rate = to_the_end.passes() / seconds["to the end"]
    return [*rows, rate_row(f"{name}: passes/s, none leaves", plain, rate, least=LEAST_RATE)]


# --- what is timed ---------------------------------------------------------------------------------------------------


class Called:
    """An attack on the same images again and again, each time from other starts; it keeps what it made of them."""

    def __init__(self, attack: Callable[..., Images], model: nn.Module, x: Images, y: Labels, **options: object) -> None:
        self.attack, self.model, self.x, self.y, self.options = attack, model, x, y, options
        self.images: list[Images] = []
        self.seen = 0  # images that went forward and backward

    def __call__(self) -> None:
        """Once more. The hook takes microseconds of the time."""
        with self.model.register_forward_pre_hook(self._count):
            self.images.append(self.attack(self.model, self.x, self.y, seed=len(self.images), **self.options))

    def _count(self, _: nn.Module, inputs: tuple[Images]) -> None:
        self.seen += len(inputs[0]) if inputs[0].requires_grad else 0

    def passes(self) -> float:
        """Passes of a batch in a call, on average."""
        return self.seen / len(self.x) / len(self.images)

    def right(self) -> float:
        """How many percent of all that it returned the model has right, which it is asked anew."""
        return 100 * torch.cat([correct(self.model, images, self.y) for images in self.images]).double().mean().item()


def our_pgd(model: nn.Module, x: Images, y: Labels, *, eps: float, seed: int, early_stop: bool = True) -> Images:
    """Our attack's images."""
    return pgd(model, x, y, eps=eps, steps=STEPS, early_stop=early_stop, generator=torch.Generator().manual_seed(seed))


def foolboxs_pgd(model: nn.Module, x: Images, y: Labels, *, eps: float, seed: int) -> Images:
    """Foolbox's images at the same budget. Seeds the global generator."""
    torch.default_generator.manual_seed(seed)
    attack = foolbox.attacks.LinfPGD(rel_stepsize=0.1, steps=STEPS, random_start=True)
    _, images, _ = attack(foolbox.PyTorchModel(model, bounds=(0, 1), device=x.device), x, y, epsilons=eps)
    return images


def plain_passes(model: nn.Module, x: Images, y: Labels) -> None:
    """As many passes as the attack has steps, and nothing else: forward, and the gradient of the summed cross-entropy."""
    for _ in range(STEPS):
        point = x.clone().requires_grad_()
        torch.autograd.grad(F.cross_entropy(model(point), y, reduction="sum"), point)


# --- rows ------------------------------------------------------------------------------------------------------------


def row(what: str, against: float, ours: float, ratio: float | None, target: str, met: str) -> dict:
    """A row of the table."""
    return {"what": what, "against": against, "ours": ours, "ratio": ratio, "target": target, "met": met}


def time_row(what: str, against: float, ours: float) -> dict:
    """Seconds, shown as milliseconds; ours should be fewer."""
    ratio = ours / against
    return row(what, 1000 * against, 1000 * ours, ratio, f"<= {LONGEST:g} x", "yes" if ratio <= LONGEST else "NO")


def rate_row(what: str, against: float, ours: float, *, least: float | None = None) -> dict:
    """Passes a second; least: the share of the plain rate that should be left."""
    ratio = ours / against
    target, met = ("", "") if least is None else (f">= {least:g} x", "yes" if ratio >= least else "NO")
    return row(what, against, ours, ratio, target, met)


def right_row(what: str, against: float, ours: float) -> dict:
    """Robust accuracies in percent. Not a matter of speed: an attack that leaves more right is no attack to be timed."""
    most = against + MOST_ABOVE
    return row(what, against, ours, None, f"<= {most:.1f}", "yes" if ours <= most else WEAKER)
