"""The "Bounds" section: the paper's bounds beside the measured transfer, measured on request or stored by `trs bounds`."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

from dash import html

from trs_explorer.attacks.pgd import pgd
from trs_explorer.catalogue import DATA
from trs_explorer.evaluation.bounds.measured import CLASSES, SAMPLES, bounds_from, measure_bounds
from trs_explorer.evaluation.bounds.words import percent
from trs_explorer.explore.compute_lock import PROCESS_LOCK
from trs_explorer.explore.jobs import Snapshot
from trs_explorer.explore.library import DAMAGE, Loaded
from trs_explorer.figures.bounds_figure import bounds_spec
from trs_explorer.files import Json, printable
from trs_explorer.measure.bounds_session import KIND, default_radii
from trs_explorer.results import read_results
from trs_explorer.web.history import rows_table, shown_checkpoint
from trs_explorer.web.robust_accuracy import first_images
from trs_explorer.web.state import State

BATCH = 16  # images between two updates of the page
STEPS = 50
MOST_ROWS = 400  # of the table
INVITATION = (
    "Not measured for these weights yet. The switch starts it: attacks on every member within four radii, and gradients of every "
    "class around each image, which takes minutes. A result of trs bounds is shown here, too."
)


@dataclass(frozen=True)
class PartialBounds:
    """The bounds as far as they are measured. result: as `Bounds.to_json`.  n: images so far."""

    result: Json
    n: int


def bounds_key(loaded: Loaded, state: State) -> tuple:
    """Return everything that the measurement depends on."""
    return "bounds", loaded.identity, loaded.data.name, loaded.data.fingerprint, state.seed, state.n


def measured(loaded: Loaded, state: State) -> Iterator[PartialBounds]:
    """Measure the bounds on the first n test images by untargeted PGD in L2, within the data set's usual radii."""
    x, y = first_images(loaded.data, state.n)
    eps = default_radii(loaded.data.name)
    attack = PROCESS_LOCK.yielding(partial(pgd, norm="l2", steps=STEPS))

    def yield_turn(images: float) -> None:
        PROCESS_LOCK.yield_turn()

    parts = measure_bounds(loaded.ensemble, x, y, attack=attack, eps=eps, seed=state.seed, batch_size=BATCH, progress=yield_turn)
    for part in parts:
        if len(part):
            bounds = bounds_from(part, loaded.ensemble, x, eps=eps, targeted=False, samples=SAMPLES, classes=CLASSES)
            yield PartialBounds({**bounds.to_json(), "attack": f"pgd-{STEPS}", "seed": state.seed}, len(part))


def stored_bounds(loaded: Loaded) -> Json | None:
    """Return the newest result of `trs bounds` on these weights; None if there is none, or it is damaged."""
    for result in read_results(loaded.run, KIND):
        try:
            if result["weights"] == loaded.digest:
                bounds_spec(result)
                pairs_table(result)
                about(result, loaded)
                return result
        except DAMAGE:
            continue
    return None


def about(result: Json, loaded: Loaded) -> str:
    """Say what was measured: checkpoint, attack, images, seed, gradients."""
    taken, classes = result["classes"]
    of_classes = f"all {classes} classes" if taken == classes else f"{int(taken)} of {int(classes)} classes"
    aim = "targeted" if result["targeted"] else "untargeted"
    examples = DATA[loaded.data.name].examples
    attack, n, seed, points = printable(str(result["attack"]))[:60], result["n"], result["seed"], result["points"][-1]
    which = f"{aim} {attack} in L2, first {int(n)} test {examples}, seed {int(seed)}"
    return f"{shown_checkpoint(loaded)}: {which}; gradients of {of_classes} at up to {int(points)} points around each"


def summary(result: Json) -> str:
    """Say in a line what each bound comes to: the first sentences about both."""
    return " ".join(text for text in map(str, result["sentences"]) if text.startswith(("Lower bound", "Upper bound")))


def words(snapshot: Snapshot | None, stored: Json | None, loaded: Loaded, state: State) -> tuple[Json | None, str, list]:
    """Return the result to show, a line about it, and all that is said of it."""
    if len(loaded.ensemble) < 2:
        return None, "A single member has no pair, and so no bounds.", []
    if snapshot is not None and snapshot.state == "failed":
        return None, f"The bounds could not be measured: {snapshot.error}", []
    value = snapshot.value if snapshot is not None else None
    result = value.result if isinstance(value, PartialBounds) else stored if snapshot is None else None
    if result is None:
        return None, "starting ..." if snapshot is not None else INVITATION, []
    line = summary(result)
    if snapshot is not None and snapshot.state == "running" and isinstance(value, PartialBounds):
        count = min(state.n, len(loaded.data))
        line = f"Measuring: {value.n} of {count} {DATA[loaded.data.name].examples} ... {line}"
    source = "" if snapshot is not None else " (stored by trs bounds)"
    said = [f"{about(result, loaded)}{source}. Pr(T_r = 1) counts all of them."]
    return result, line, [html.P(said[0]), html.Ul([html.Li(printable(str(text))) for text in result["sentences"]])]


def pairs_table(result: Json) -> html.Table:
    """Build a table of the bounds, the measured rates and the quantities: a row for each radius and pair."""
    head = ("ε", "pair", "lower, %", "Pr(T_r = 1), %", "n", "upper, %", "α", "ℓ_min", "S̲", "S̄", "β", "B")
    names = ("alpha", "least", "lowest", "highest", "beta", "steepest")
    rows = [
        [
            f"{pair['eps']:g}",
            f"F{int(pair['surrogate']) + 1} → F{int(pair['target']) + 1}",
            _bound(pair, "lower"),
            f"{100 * pair['rate']:.1f} ({100 * pair['interval'][0]:.1f}-{100 * pair['interval'][1]:.1f})",
            f"{int(pair['transferred'])}/{int(pair['n'])}",
            _bound(pair, "upper"),
            *("-" if pair[name] is None else f"{pair[name]:.3g}" for name in names),
        ]
        for pair in result["pairs"][:MOST_ROWS]
    ]
    cut = f". The first {MOST_ROWS} of {len(result['pairs'])} rows" if len(result["pairs"]) > MOST_ROWS else ""
    return rows_table(head, rows, f"S̲, ℓ_min: the smallest found. S̄, β, B: the largest found{cut}")


def _bound(pair: Json, side: str) -> str:
    reason = pair[f"{side}_vacuous"]
    if reason is None:
        return percent(pair[f"{side}_bound"])
    return f"vacuous: {printable(str(reason['quantity']))[:12]}"
