"""Runs that differ only in the seed are one row: which are put together, their figures, and when an order is called."""

from dataclasses import replace
from itertools import permutations

import pytest
from made_results import result, same

from trs_explorer.config import SETTINGS, TrainConfig, resolve
from trs_explorer.evaluation.intervals import of_ratio, wilson
from trs_explorer.evaluation.seeds import paired_t_test, t_interval
from trs_explorer.evaluation.table1.columns import CLEAN, Column, Figure
from trs_explorer.evaluation.table1.differences import large_difference, orderings
from trs_explorer.evaluation.table1.groups import common_name, group_seeds
from trs_explorer.evaluation.table1.rows import Row, best_row, make_row, seeds_text, sort_rows
from trs_explorer.evaluation.table1.seed_figures import SeedFigure, compare_over_seeds
from trs_explorer.evaluation.table1.seed_orders import comparisons_json, order_lines
from trs_explorer.evaluation.table1.stored import parse_evaluation

PGD, WORST = Column("pgd", 0.1), Column("worst of 7", 0.1)


def row(seed: int, correct: int = 900, *, run: str = "", config: TrainConfig | None = None, **settings) -> Row:
    """A row of a run with as many of 1,000 images right in each of three columns."""
    config = replace(resolve(settings) if config is None else config, seed=seed)
    name, paper = run or f"{config.method}-seed-{seed}", {"trs": 93.0, "cos-l2": 73.4}.get(config.method)
    outcomes = "1" * correct + "0" * (1000 - correct)
    figures = {CLEAN: Figure(outcomes), PGD: Figure(outcomes, paper), WORST: Figure(outcomes)}
    return Row(name, config.method, [], config, f"weights of {name}", figures, {}, "test images", f"{config.epochs:04d}")


def group(*correct: int, **settings) -> Row:
    """The group of runs with these accuracies, in tenths of a per cent, by seed from 0 on."""
    [grouped] = group_seeds([row(seed, one, **settings) for seed, one in enumerate(correct)])
    return grouped


def test_a_row_knows_which_checkpoint_and_images_were_measured() -> None:
    answers = [parse_evaluation(result(same(correct), n=10), weights="w", data="mnist", limit=10) for correct in (9, 7)]
    made = [make_row(f"m-{k}", replace(resolve({}), seed=k), "0036", f"w{k}", [one], 10) for k, one in enumerate(answers)]
    [one] = group_seeds(made)
    assert (len(one.figures), one.figures[WORST].percents, one.checkpoint) == (21, [90, 70], "0036")
    other = make_row("m-1", replace(resolve({}), seed=1), "0030", "w1", [answers[1]], 10)
    assert len(group_seeds([made[0], other])) == 2


def members(rows: list[Row]) -> list[list[str]]:
    return sorted(one.runs for one in group_seeds(rows))


def test_three_seeds_are_one_row_in_whatever_order_they_come() -> None:
    rows = [row(0, 940), row(1, 930), row(2, 950), row(0, 500, method="standard")]
    for shuffled in permutations(rows):
        grouped = {one.label: one for one in sort_rows(group_seeds(shuffled))}
        assert list(grouped) == ["trs", "standard"]
        assert (grouped["trs"].runs, grouped["trs"].seeds) == (["trs-seed-0", "trs-seed-1", "trs-seed-2"], [0, 1, 2])
        assert grouped["trs"].figures[PGD].percents == [94, 93, 95]
        assert grouped["standard"].members == ()
        assert grouped["standard"] == sort_rows([rows[3]])[0]


def changed(config: TrainConfig, name: str) -> TrainConfig:
    """The config with another value of a setting."""
    value = getattr(config, name)
    other = not value if isinstance(value, bool) else value + 1 if isinstance(value, int | float) else f"{value}x"
    return replace(config, **{name: other})


@pytest.mark.parametrize("name", [name for name in SETTINGS if name not in ("seed", "data_dir", "method", "data")])
def test_runs_that_differ_in_any_other_setting_are_not_grouped(name: str) -> None:
    config = resolve({"method": "dverge", "start_from": "there"})
    rows = [row(0, config=config), row(1, config=changed(config, name)), row(2, config=config)]
    assert members(rows) == [["dverge-seed-0", "dverge-seed-2"], ["dverge-seed-1"]]


def test_runs_that_differ_in_an_option_a_fingerprint_or_the_checkpoint_are_not_grouped() -> None:
    first, plain = row(0), resolve({})
    others = [
        replace(row(1), config=replace(plain, seed=1, options=plain.options | {"lambda_b": 0.2})),
        replace(row(1), config=replace(plain, seed=1, data_fingerprint=plain.data_fingerprint | {"train": "other"})),
        replace(row(1), config=replace(plain, seed=1, data_fingerprint=plain.data_fingerprint | {"test": "other"})),
        replace(row(1), config=replace(plain, seed=1, data_fingerprint={})),
        replace(row(1), data_fingerprint="other"),  # of the images of the figures
        replace(row(1), checkpoint="0020"),
        replace(row(1), config=replace(plain, seed=1, method="cos-l2")),
        replace(row(1), config=replace(plain, seed=1, model="/home/ada/nets.py:net")),
    ]
    for other in others:
        assert len(group_seeds([first, other])) == 2
    assert len(group_seeds([first, row(1)])) == 1


def test_folders_do_not_count_but_for_data_without_a_fingerprint() -> None:
    known = {"train": "a", "test": "b"}
    for fingerprint, count in ((known, 1), ({}, 2)):
        configs = [replace(resolve({}), data_dir=folder, data_fingerprint=fingerprint) for folder in ("/one", "/two")]
        assert len(group_seeds([row(seed, config=config) for seed, config in enumerate(configs)])) == count


@pytest.mark.parametrize(
    ("starts", "count"),
    [
        (("checkpoints/start-mnist-patch-3-0", "/elsewhere/start-mnist-patch-3-1"), 1),
        (("a/mnist-standard-seed-0", "b/mnist-standard-seed-1"), 1),
        (("mnist-standard", "/b/mnist-standard"), 1),
        (("checkpoints/start-mnist-patch-3-0", "checkpoints/start-mnist-patch-3-0"), 2),  # the second's would be -1
        (("mnist-standard-0", "mnist-standard-1"), 2),  # numbered, so perhaps with other settings
        (("mnist-standard-seed-0", "mnist-standard-seed-0"), 2),
        (("start-mnist-patch-3-0", ""), 2),
    ],
)
def test_the_run_that_a_training_starts_from_counts_by_its_name_but_for_its_seed(starts: tuple[str, str], count: int) -> None:
    rows = [row(seed, method="dverge", start_from=start) for seed, start in enumerate(starts)]
    assert len(group_seeds(rows)) == count


def test_a_training_made_twice_or_copied_is_no_second_sample() -> None:
    twice = [row(0, run="b"), row(0, run="a"), row(1, run="c")]
    assert members(twice) == [["a", "c"], ["b"]]
    assert members([*reversed(twice)]) == [["a", "c"], ["b"]]
    assert members([row(0, run="a"), replace(row(1, run="b"), weights="weights of a")]) == [["a"], ["b"]]


def test_what_has_no_figures_or_was_trained_elsewhere_stays_alone() -> None:
    assert len(group_seeds([row(0), replace(row(1), figures={})])) == 2
    assert len(group_seeds([row(seed, config=replace(resolve({}), method="imported")) for seed in range(2)])) == 2
    assert group_seeds([]) == []


def test_the_group_s_name_and_labels() -> None:
    assert common_name(["mnist-trs", "mnist-trs-seed-1", "mnist-trs-seed-2"]) == "mnist-trs"
    assert common_name(["run-10", "run-11"]) == "run"
    assert common_name(["cifar10", "cifar10-seed-1"]) == "cifar10"
    assert common_name(["one", "two"]) == "one"
    two = [row(seed, run=f"standard-lr-seed-{seed}", method="standard", lr=3e-4) for seed in range(2)]
    rows = [*two, row(0, method="standard", run="mnist-standard")]
    assert [one.label for one in sort_rows(group_seeds(rows))] == ["mnist-standard", "standard-lr (2 seeds)"]
    numbered = [row(k, run=f"trs-{1 + k + 2 * (lr < 1e-3)}", lr=lr) for k in range(2) for lr in (1e-3, 1e-4)]
    assert sorted(one.label for one in sort_rows(group_seeds(numbered))) == ["trs-1, trs-2", "trs-3, trs-4"]
    assert (seeds_text([0, 1, 2]), seeds_text([0, 3, 7]), seeds_text([4, 5])) == ("0-2", "0, 3, 7", "4, 5")


def test_checks_warn_if_one_of_them_does_and_missing_figures_are_of_fewer_seeds() -> None:
    warns, fine = replace(row(0), checks={3: False, 8: True}), replace(row(1), checks={3: False, 8: False})
    few = replace(row(2), figures={CLEAN: Figure("1" * 1000), PGD: Figure("1" * 10)}, checks={})
    [one] = group_seeds([warns, fine, few])
    assert (one.warned, one.masked, one.members[1].masked) == ([8], [8], [])
    assert list(one.figures[CLEAN].by_seed) == [0, 1, 2]
    assert list(one.figures[PGD].by_seed) == list(one.figures[WORST].by_seed) == [0, 1]  # seed 2 has too few images


def test_mean_range_and_both_intervals() -> None:
    figure = group(940, 930, 950).figures[PGD]
    assert (figure.percent, figure.range, figure.n) == (94, (93, 95), 1000)
    assert figure.between == t_interval([94.0, 93.0, 95.0])
    assert figure.paper == 93.0
    inside = [(3, 3)] * 930 + [(2, 3)] * 10 + [(1, 3)] * 10 + [(0, 3)] * 50
    assert figure.interval == tuple(100 * end for end in of_ratio(inside))
    assert group(900, 900).figures[PGD].interval == pytest.approx(tuple(100 * end for end in wilson(900, 1000)))
    assert group(990, 1000).figures[PGD].between[1] == 100
    assert group(5, 0).figures[PGD].between[0] == 0
    assert SeedFigure({3: Figure("10")}).between is None


def test_over_images_one_seed_is_mcnemars_test_and_of_several_an_image_counts_once() -> None:
    a, b = (SeedFigure({0: Figure(text)}) for text in ("111100" + "1", "110011" + "1"))
    found = compare_over_seeds(a, b)
    assert (found.wins, found.losses, found.p_images, found.over_seeds, found.called) == (2, 2, 1, None, 0)
    a = SeedFigure({0: Figure("1100"), 1: Figure("1110"), 2: Figure("1001")})
    b = SeedFigure({0: Figure("0100"), 1: Figure("0001"), 2: Figure("0110")})
    found = compare_over_seeds(a, b)  # by image 3-0, 2-2, 1-1, 1-1
    assert (found.wins, found.losses) == (1, 0)
    assert (compare_over_seeds(b, a).wins, compare_over_seeds(b, a).losses) == (0, 1)


def test_an_order_is_called_only_if_it_holds_over_seeds_and_over_images() -> None:
    def called(first: tuple[int, ...], second: tuple[int, ...]) -> int:
        a, b = group(*first).figures[PGD], group(*second, method="standard").figures[PGD]
        assert compare_over_seeds(b, a).called == -compare_over_seeds(a, b).called
        return compare_over_seeds(a, b).called

    assert called((940, 930, 950), (900, 890, 905)) == 1
    assert called((900, 890, 905), (940, 930, 950)) == -1
    assert called((940, 890, 950), (900, 895, 700)) == 0  # over images, but not over seeds
    assert called((903, 904, 902), (900, 901, 899)) == 0  # over seeds, but by 5 images
    assert called((905, 906, 904), (900, 901, 899)) == 1
    assert called((940, 930), (900, 891)) == 1
    assert called((940, 930), (900, 930)) == 0
    assert called((900, 900, 900), (900, 900, 900)) == 0
    test = compare_over_seeds(group(940, 930, 950).figures[PGD], group(900, 890, 905, method="standard").figures[PGD])
    assert test.over_seeds == paired_t_test([94.0, 93.0, 95.0], [90.0, 89.0, 90.5])


def test_only_seeds_in_common_are_paired_and_a_single_run_is_never_called() -> None:
    a, b = group(940, 930, 950, 945), group(900, 890, 100, method="standard")
    other = group_seeds([row(seed, 500, method="standard") for seed in (4, 5)])[0]
    assert compare_over_seeds(a.figures[PGD], b.figures[PGD]).seeds == (0, 1, 2)
    none = compare_over_seeds(a.figures[PGD], other.figures[PGD])
    assert (none.seeds, none.over_seeds, none.called) == ((), None, 0)
    assert compare_over_seeds(a.figures[PGD], row(0, 100).figures[PGD]).called == 0
    assert compare_over_seeds(a.figures[PGD], SeedFigure({0: Figure("1"), 1: Figure("0")})).called == 0  # other images


def test_best_needs_the_tests_between_groups_and_is_no_single_run_beside_one() -> None:
    strong, weak, near = group(940, 930, 950), group(900, 890, 905, method="standard"), group(941, 925, 950, method="cos-l2")
    alone = row(0, 500, method="gal")
    assert best_row([weak, strong], PGD) is strong
    assert best_row([weak, strong, near], PGD) is None
    assert best_row([weak, strong, alone], PGD) is strong
    assert best_row([weak, strong, row(0, 935, method="gal")], PGD) is None  # its interval overlaps
    assert best_row([weak, row(0, 990, method="gal")], PGD) is None  # the highest has one seed
    masked = replace(strong, checks={8: True})
    assert best_row([weak, masked], PGD) is None
    assert best_row([weak, masked], CLEAN) is masked
    little = group(909, 910, 908)  # its interval over images overlaps: the same images, always a few more of them
    assert best_row([little, group(900, 901, 899, method="standard")], PGD) is little
    uneven, lower = group(990, 890, 990), group(850, 860, 880, method="standard")
    assert uneven.figures[PGD].interval[0] > lower.figures[PGD].interval[1]
    assert best_row([uneven, lower], PGD) is None


def test_an_order_is_not_called_where_the_seeds_in_common_say_the_opposite() -> None:
    more, fewer = group(800, 810, 805, 1000), group(830, 841, 836, method="standard")
    assert compare_over_seeds(more.figures[PGD], fewer.figures[PGD]).called == -1
    assert "trs 85.4 ~ (" in order_lines(sort_rows([more, fewer]))[0]
    assert best_row([more, fewer], PGD) is None


def test_the_lines_name_the_test_and_say_what_has_one_seed() -> None:
    strong, weak, near = group(940, 930, 950), group(900, 890, 905, method="standard"), group(941, 925, 950, method="cos-l2")
    rows = sort_rows([strong, weak, near, row(0, 500, method="gal")])
    p = f"p {paired_t_test([94.1, 92.5, 95.0], [94.0, 93.0, 95.0]).p:.3f}".replace("0.", ".")
    first, *_, rule, alone = order_lines(rows)
    assert first.startswith(f"Order over seeds under worst of 7 ε 0.1: trs 94.0 ~ ({p}) cos-l2 93.9 > (p .0")
    assert first.endswith("standard 89.8.")
    for words in ("paired t test over seeds", "exact sign test over images", "n = 3 seeds", "about normal", "3 pairs"):
        assert words in rule
    assert alone == "One seed, so nothing is called between trainings: gal."
    assert order_lines([row(0), row(0, method="gal")]) == [
        "One seed each, so nothing is called between trainings; trs train --seeds 0-4 trains several."
    ]
    masked = replace(strong, checks={8: True}, label="trs")
    first, rule = order_lines([masked, replace(weak, label="standard")])
    assert "trs† 94.0 > (p .0" in first
    assert rule.endswith("†: masked, so its figure may be too high.")


def test_comparisons_are_of_every_two_groups_in_every_column() -> None:
    rows = sort_rows([group(940, 930, 950), group(900, 890, 905, method="standard"), row(0, method="gal")])
    found = comparisons_json(rows)
    assert len(found) == 3
    [pgd] = [one for one in found if (one["name"], one["eps"]) == ("pgd", 0.1)]
    assert (pgd["first"], pgd["second"], pgd["called"], pgd["df"], pgd["seeds"]) == ("trs", "standard", 1, 2, [0, 1, 2])
    assert "paired t test" in pgd["test"]
    equal = comparisons_json(sort_rows([group(940, 930), group(900, 890, method="standard")]))
    assert (equal[0]["t"], equal[0]["p"]) == (None, 0)  # JSON has no infinity


def test_the_paper_is_compared_with_the_mean_and_within_both_intervals() -> None:
    assert large_difference(group(500, 510, 490).figures[PGD]) == pytest.approx(50 - 93)
    assert large_difference(group(500, 900, 700).figures[PGD]) is None  # its t interval holds 93
    assert large_difference(row(0, 700).figures[PGD]) == pytest.approx(70 - 93)
    rows = sort_rows([group(940, 930, 950), group(900, 890, 905, method="cos-l2")])
    assert orderings(rows)[0].ours == "trs > cos-l2"
    rows = sort_rows([group(940, 880, 950), group(900, 890, 905, method="cos-l2")])
    assert orderings(rows)[0].ours == "trs ~ cos-l2"
