"""What the sections below the slices show, as figures, sentences and tables: for the page and for the handout."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dash import html

from trs_explorer.catalogue import DATA
from trs_explorer.evaluation.table1.groups import group_seeds
from trs_explorer.evaluation.table1.rows import sort_rows
from trs_explorer.explore.jobs import Jobs
from trs_explorer.explore.library import Library
from trs_explorer.figures.runs import RunPoint, curves_spec, scatter_spec
from trs_explorer.files import Json
from trs_explorer.web.attack_paths import configured_attack
from trs_explorer.web.compare import charts, measurements, stored_results
from trs_explorer.web.compare.pair import Pair
from trs_explorer.web.controls import NORM_LABELS

TRANSFER = "transfer between members, %"
OF_SEEDS = (
    "A point of several seeds is their mean, with bars from the smallest to the largest. Its transfer is of those with a probe."
)
MASKED = "‡: gradients are masked, the accuracy is too high."
NOT_STORED = "No accuracy under several attacks is stored for these runs yet. Measure it with: trs compare"


@dataclass(frozen=True)
class Section:
    """One section. figure: None if there is nothing to draw: the words say why.  table: its numbers, a component."""

    figure: Json | None
    words: Any
    table: Any = None


@dataclass(frozen=True)
class Live:
    """What is measured while one looks.

    matrices: a table and its caption, by side.
    curves: the accuracies over eps.
    drawn: what the chart shows, as a text, to see whether it has changed.
    done: whether all is measured.
    """

    matrices: dict[str, Section]
    curves: Section
    drawn: str
    done: bool


def live_sections(pair: Pair, jobs: Jobs, *, look: str, again: bool = False) -> Live:
    """Return what is measured so far, and start what is missing. again: see `measurements.live_measurements`."""
    matrices, curves, done = measurements.live_measurements(pair, jobs, again=again)
    state, (attack, _) = pair.a.state, configured_attack(pair.a.state)
    count, norm = min(state.n, len(pair.a.loaded.data)), NORM_LABELS[state.norm]
    examples = DATA[pair.a.loaded.data.name].examples
    caption = f"{attack} on the ensembles, ε in {norm}, first {count} test {examples}, seed {state.seed}; 95 % intervals."
    by_attack = {attack: curves}
    measured = any(curves.values())
    return Live(
        {side: Section(None, words, table) for side, (table, words) in matrices.items()},
        Section(
            curves_spec(by_attack, pair.names, look=look) if measured else None,
            f"{caption}{charts.rising_words(curves)}"
            if measured
            else f"{caption} {'Nothing could be measured.' if done else 'Measured after the matrices ...'}",
            charts.curves_table(by_attack, pair.names) if measured else None,
        ),
        f"{look} {pair.names} {caption} {curves}",
        done,
    )


def stored_sections(library: Library, pair: Pair, *, look: str) -> dict[str, Section]:
    """Return what is stored of all runs on the same data: "cosine", "robust", "curves" and "table1"."""
    config, names = pair.a.loaded.run.config, pair.names
    rows = stored_results.stored_rows(library, config)
    drawn = charts.drawn_rows(rows, names)
    named = {charts.point_name(row, names): row for row in drawn}
    labels = {name: charts.point_label(row) for name, row in named.items()}
    runs = stored_results.runs_on_same_data(library, config)
    probes = {name: probe for name in runs if (probe := stored_results.last_probe(library, name))}
    accuracies, attacks = charts.robust_points(drawn, probes, labels, names)
    counts = "-".join(map(str, sorted({point.n // point.seeds for point in accuracies.values()})))
    of_seeds = f" {OF_SEEDS}" if any(row.members for row in drawn) else ""
    under = (
        f"Accuracy under {attacks}, image by image, n {counts}, with 95 % intervals, against the transfer rate of the last "
        f"probe. {MASKED} Points without a name are named in the table.{of_seeds}"
    )
    curves = charts.robust_curves(rows, stored_results.other_points(library, rows))
    groups = {name: row.runs for name, row in named.items() if row.members}
    points = charts.cosine_points(probes, labels, groups)
    cosines = _scatter(points, names, x_title="mean |cos| of pairs of gradients", y_title=TRANSFER,
                       x_span=1.0, look=look)  # fmt: skip
    return {
        "cosine": Section(
            cosines,
            stored_results.probe_caption(probes, config.data, [labels.get(name, name) for name in runs if name not in probes])
            + of_seeds,
            stored_results.probe_table(probes, names) if probes else html.P(stored_results.NO_PROBE),
        ),
        "robust": Section(
            _scatter(accuracies, names, x_title=TRANSFER, y_title="ensemble robust accuracy, %", look=look),
            under if accuracies else NOT_STORED,
            charts.robust_table(accuracies, names) if accuracies else None,
        ),
        "curves": Section(
            curves_spec(curves, names, look=look) if curves else None,
            charts.curves_caption(curves, rows, names),
            charts.curves_table(curves, names) if curves else None,
        ),
        "table1": Section(None, "", stored_results.table1(sort_rows(group_seeds(rows)), names)),
    }


def _scatter(points: Mapping[str, RunPoint], names: Mapping[str, str], **settings: Any) -> Json | None:
    """Draw a scatter chart; None without any point: an empty chart would say nothing."""
    return scatter_spec(points, names, **settings) if points else None
