"""Group the rows of Table 1: runs that differ in nothing but the seed are one experiment, and one row. No torch."""

import json
import re
from collections.abc import Sequence
from dataclasses import asdict, replace
from itertools import takewhile
from pathlib import Path

from trs_explorer.config import TrainConfig
from trs_explorer.evaluation.table1.columns import Figure
from trs_explorer.evaluation.table1.rows import Row, any_warned
from trs_explorer.evaluation.table1.seed_figures import SeedFigure
from trs_explorer.files import natural_order
from trs_explorer.runs import start_name


def same_but_seed(row: Row) -> str:
    """A text that two rows share if and only if their trainings differ in nothing but the seed.

    Every setting and option counts, the fingerprints of the training's data and of the images of the figures, and the checkpoint
    that was measured: epoch 20 of 36 is another experiment than epoch 36. What does not count: the seed, when and by which
    versions the training was made, and the folders of the data and of the run it started from. The folder of data without a
    fingerprint does count, and so does the path of code of others. Of the run that a training started from the name counts, but
    for its seed (start-mnist-patch-3-0, mnist-standard-seed-0). What a dashboard changed while it trained is in its log
    alone, and is not seen.
    """
    config = row.config
    known = any(config.data_fingerprint.values())
    alike = replace(config, seed=0, data_dir="" if known else config.data_dir, start_from=_start(config))
    return json.dumps([asdict(alike), row.checkpoint, row.data_fingerprint], sort_keys=True, default=str)


def _start(config: TrainConfig) -> str:
    """The name of the run that a training started from, without its seed where that is the training's."""
    name = Path(config.start_from).name
    if name == start_name(config):
        return f"of its seed: {start_name(replace(config, seed=0))}"
    return re.sub(rf"-seed-{config.seed}$", "-seed-", name)


def group_seeds(rows: Sequence[Row]) -> list[Row]:
    """The rows with those that differ only in the seed put together, in the place of the first of them.

    A group needs two seeds or more. Of rows with the same seed, or the same weights, the first by name is in the group, the
    others stay alone: a training made twice, or copied, is no second sample. Rows without figures stay alone too, and ensembles
    that were trained elsewhere: their seed is unknown. Which rows are put together does not depend on their order.
    """
    by_training: dict[str, dict[int, Row]] = {}
    for row in sorted(rows, key=lambda one: (natural_order(one.run), one.weights)):
        if row.figures and not row.config.imported:
            of_seed = by_training.setdefault(same_but_seed(row), {})
            if row.weights not in {other.weights for other in of_seed.values()}:
                of_seed.setdefault(row.config.seed, row)
    group_of = {id(row): of_seed for of_seed in by_training.values() if len(of_seed) > 1 for row in of_seed.values()}
    made: dict[int, Row] = {}  # groups, by the identity of their members
    for row in rows:
        of_seed = group_of.get(id(row), {})
        made.setdefault(id(of_seed) if of_seed else id(row), _group([of_seed[k] for k in sorted(of_seed)]) if of_seed else row)
    return list(made.values())


def _group(members: Sequence[Row]) -> Row:
    """The row of several runs. A column's figure is of the members that have it; a check warns if it does for one of them."""
    first = members[0]
    figures = {}
    for column in dict.fromkeys(column for one in members for column in one.figures):
        by_seed = {one.config.seed: one.figures[column] for one in members if column in one.figures}
        most = max(figure.n for figure in by_seed.values())
        alike = {seed: one for seed, one in by_seed.items() if isinstance(one, Figure) and one.n == most}
        figures[column] = SeedFigure(alike)
    checks = any_warned(one.checks for one in members)
    name = common_name([one.run for one in members])
    return replace(first, run=name, figures=figures, checks=checks, weights="", members=tuple(members))


def common_name(names: Sequence[str]) -> str:
    """What the names of several runs begin with, without "-seed-" at its end; the first name if that is nothing."""
    alike = takewhile(lambda characters: len(set(characters)) == 1, zip(*names, strict=False))
    begin = "".join(first for first, *_ in alike)
    if any(name[len(begin) :][:1].isdigit() for name in names):
        begin = begin.rstrip("0123456789")  # run-1 is not the beginning of run-10 and run-11
    return re.sub(r"([-_ ]+seed)?[-_ ]*$", "", begin) or names[0]
