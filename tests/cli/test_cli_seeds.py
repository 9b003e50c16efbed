"""Several seeds: `trs train --seeds` continues what is unfinished, `trs compare` shows groups, and runs without weights."""

import csv
import json
import signal
from pathlib import Path

import pytest
from made_results import digest, made, result, same

from trs_explorer import runs
from trs_explorer.config import TrainConfig
from trs_explorer.evaluation.intervals import of_ratio
from trs_explorer.evaluation.seeds import paired_t_test, t_interval
from trs_explorer.evaluation.table1.stored import compact, parse_evaluation
from trs_explorer.results import write_table

SHORT = ("train", "--data", "bars", "--epochs", 2, "--limit", 20, "--log-every", 1, "--device", "cpu", "--out", "run")


def states() -> dict[str, str]:
    return {run.name: run.status()["state"] for run in runs.find_runs(Path.cwd())}


# --- trs train --seeds -----------------------------------------------------------------------------------------------


def test_a_folder_a_seed_and_the_same_command_skips_and_continues(trs) -> None:
    first = trs(*SHORT, "--seeds", "0,2", "--plain")
    assert (first.status, first.err) == (0, "finished: 0, 2\n")
    assert states() == {"run-seed-0": "finished", "run-seed-2": "finished"}
    assert [runs.open_run(Path(f"run-seed-{seed}")).config.seed for seed in (0, 2)] == [0, 2]
    assert first.out.splitlines()[0].endswith("seed 0 -> run-seed-0")
    again = trs(*SHORT, "--seeds", "0-2", "--json")
    assert again.status == 0
    lines = [json.loads(line) for line in again.out.splitlines()]
    assert [(one["seed"], one["state"]) for one in lines if one["kind"] == "seed"] == [
        (0, "skipped"),
        (1, "finished"),
        (2, "skipped"),
    ]
    events = [one for one in lines if one["kind"] != "seed"]
    assert {(one.pop("seed"), one.pop("run")) for one in events} == {(1, "run-seed-1")}
    assert events == runs.read_events(runs.open_run(Path("run-seed-1"))).events
    assert again.err.splitlines()[0] == "seed 0 skipped: it was finished before -> run-seed-0"


@pytest.mark.slow
def test_a_seed_trains_as_it_would_alone(trs) -> None:
    trs(*SHORT, "--seeds", "1,2", "--json")
    trs(*SHORT[:-1], "alone", "--seed", 2, "--json")
    alone, one = (runs.open_run(Path(name)) for name in ("alone", "run-seed-2"))
    assert alone.config == one.config
    assert alone.checkpoints()[-1].digest() == one.checkpoints()[-1].digest()


def test_a_seed_that_fails_says_why_and_the_others_go_on(trs, monkeypatch: pytest.MonkeyPatch) -> None:
    from trs_explorer.training import loop

    def failing(state, rows):
        if state.run.config.seed == 0:
            raise MemoryError("no room")
        return step(state, rows)

    step = loop.training_step
    monkeypatch.setattr(loop, "training_step", failing)
    said = trs(*SHORT, "--seeds", "0-1", "--plain")
    assert said.status == 1
    assert said.err.splitlines() == ["seed 0 failed: no room -> run-seed-0", "failed: 0; finished: 1"]
    assert states() == {"run-seed-0": "failed", "run-seed-1": "finished"}
    monkeypatch.setattr(loop, "training_step", step)
    assert trs(*SHORT, "--seeds", "0-1", "--plain").err.splitlines()[-1] == "finished: 0; skipped: 1"


@pytest.fixture
def _heard() -> None:
    """Ctrl-C is heard again afterwards."""
    from trs_explorer.cli import trainer

    before = {number: signal.getsignal(number) for number in trainer.STOPPING}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("_heard")
def test_ctrl_c_ends_them_all_and_the_same_command_continues(trs, monkeypatch: pytest.MonkeyPatch) -> None:
    from trs_explorer.cli import display

    def interrupting(self: display._Plain, event: dict) -> None:
        shown(self, event)
        if event["kind"] == "step" and self.run.config.seed == 1:
            signal.raise_signal(signal.SIGINT)

    shown = display._Plain.event
    monkeypatch.setattr(display._Plain, "event", interrupting)
    said = trs(*SHORT, "--seeds", "0-2", "--plain")
    assert (said.status, said.err) == (130, "finished: 0; stopped: 1\n")
    assert states() == {"run-seed-0": "finished", "run-seed-1": "stopped"}
    monkeypatch.setattr(display._Plain, "event", shown)
    again = trs(*SHORT, "--seeds", "0-2", "--plain")
    assert (again.status, again.err.splitlines()[-1]) == (0, "skipped: 0; finished: 1, 2")
    assert "resumed at step 1 of 2" in again.out


@pytest.mark.slow
def test_a_viewers_stop_ends_them_all(trs, monkeypatch: pytest.MonkeyPatch) -> None:
    from trs_explorer.cli import display

    def stopping(self: display._Plain, event: dict) -> None:
        if event["kind"] == "start":
            runs.request(self.run, "stop")

    monkeypatch.setattr(display._Plain, "event", stopping)
    assert (trs(*SHORT, "--seeds", "0-1", "--plain").status, states()) == (130, {"run-seed-0": "stopped"})


def test_what_is_in_the_way_is_named_before_anything_is_trained(trs) -> None:
    trs(*SHORT, "--seeds", "1", "--plain")
    other = trs(*SHORT, "--seeds", "0-1", "--lr", 0.5, "--lambda-a", 3, "--plain")
    assert (other.status, states()) == (1, {"run-seed-1": "finished"})
    assert other.err == "trs: run-seed-1 is another training, with other options, lr: choose another --out, or move it\n"
    assert "with other from: choose" in trs(*SHORT, "--seeds", "1", "--from", "run-seed-1").err
    Path("run-seed-0").mkdir()
    Path("run-seed-0/mine.txt").touch()
    assert "run-seed-0 exists and is not empty" in trs(*SHORT, "--seeds", "0", "--plain").err


def test_flags_that_make_no_sense_together(trs) -> None:
    assert trs(*SHORT, "--seeds", "0-1", "--seed", 1).err == "trs: choose one of --seed and --seeds\n"
    assert "--resume continues one run" in trs("train", "--seeds", "0-1", "--resume", "run").err
    said = trs(*SHORT, "--seeds", "0-1", "--model", "resnet20")
    assert (said.status, list(Path.cwd().iterdir())) == (2, [])


@pytest.mark.slow
def test_without_a_name_they_have_that_of_method_and_data(trs) -> None:
    assert trs(*SHORT[:-2], "--method", "cos-only", "--seeds", "0", "--plain").status == 0
    assert [path.name for path in Path("checkpoints").iterdir()] == ["cos-only-bars-seed-0"]


def test_the_dashboard_moves_on_by_itself_and_leaving_it_starts_no_other_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    from trs_explorer.cli import train
    from trs_explorer.cli.train_seeds import train_seeds

    shown = []

    def dashboard(run: runs.Run, *, more: bool, about: dict) -> int:
        shown.append((about["seed"], more))
        run.write_status(state="finished" if about["seed"] < 2 else "running")
        return 0

    values = {"data": "bars", "epochs": 2, "device": "cpu"}
    monkeypatch.setattr(runs, "trainer_alive", lambda run: True)
    assert train_seeds(values, [0, 1, 2, 3], Path("run"), dashboard, lambda fields: None) == 0
    assert shown == [(0, True), (1, True), (2, True)]
    assert not Path("run-seed-3").exists()
    train_seeds(values, [0, 1], Path("new"), dashboard, lambda fields: None)
    assert shown[3:] == [(0, True), (1, False)]
    assert train._train_in_dashboard.__kwdefaults__["leaves_at_end"] is False


def test_dverge_gets_the_start_of_its_seed_and_a_finished_seed_needs_none(monkeypatch: pytest.MonkeyPatch) -> None:
    from trs_explorer.cli.train_seeds import train_seeds
    from trs_explorer.training import new_run

    started = []

    def start(settings: TrainConfig, **_: object) -> runs.Run:
        started.append(settings.seed)
        return runs.Run(Path("elsewhere") / runs.start_name(settings), settings)

    def train(run: runs.Run, **_: object) -> None:
        run.write_status(state="finished")

    monkeypatch.setattr(new_run, "cached_start", start)
    values = {"method": "dverge", "epochs": 1, "device": "cpu"}
    for seeds in ([0, 1], [0, 1, 2]):
        assert train_seeds(values, seeds, Path("run"), train, lambda fields: None) == 0
    assert started == [0, 1, 2]
    stored = [Path(runs.open_run(Path(f"run-seed-{seed}")).config.start_from).name for seed in (0, 1)]
    assert stored == ["start-mnist-patch-3-0", "start-mnist-patch-3-1"]


# --- trs compare -----------------------------------------------------------------------------------------------------

COUNTS = {"standard": (50, 48, 51), "trs": (90, 89, 92), "gal": (70,)}
TRS, STANDARD = [90.0, 89.0, 92.0], [50.0, 48.0, 51.0]


@pytest.fixture
def seeds(tmp_path: Path) -> Path:
    """Three seeds of two methods, and one of a third: the tables of 100 images, of which all attacks leave the same."""
    for method, counts in COUNTS.items():
        for seed, right in enumerate(counts):
            name = f"mnist-{method}{f'-seed-{seed}' if seed else ''}"
            run = made(tmp_path / "runs" / name, None, method=method, seed=seed)
            answer = result(same(right), n=100, weights=digest(run), checkpoint=run.checkpoints()[-1].name)
            answer["options"] |= {"limit": 1000}
            write_table(run, compact(parse_evaluation(answer, weights=digest(run), data="mnist", limit=1000), "mnist"))
    return tmp_path / "runs"


@pytest.fixture(autouse=True)
def _no_measuring(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trs_explorer.cli.compare._measure", lambda *_, **__: pytest.fail("it was measured"))


def test_a_group_is_a_row_with_mean_range_and_both_intervals(trs, seeds: Path) -> None:
    said = trs("compare", seeds, "--stored")
    assert said.status == 0
    low, high = t_interval(TRS)
    inside, outside = of_ratio([(3, 3)] * 89 + [(2, 3)] + [(1, 3)] * 2 + [(0, 3)] * 8)
    over_images = f"i {100 * inside:.1f}-{100 * outside:.1f}"
    for words in ("3 seeds: 0-2", "*90.3", "89.0..92.0", f"t {low:.1f}-{high:.1f}", over_images, "70.0", "60.4-78.1"):
        assert words in said.out, words
    assert "seed-1" not in said.out
    told = " ".join(said.out.split())
    p = paired_t_test(TRS, STANDARD).p
    assert p < 0.001
    assert "Order over seeds under worst of 7 ε 0.1: trs 90.3 > (p < .001) standard 49.7." in told
    assert "paired t test over seeds, and exact sign test over images, p < .05 each" in told
    assert "One seed, so nothing is called between trainings: gal." in told


def test_without_groups_it_says_that_nothing_is_called_between_trainings(trs, seeds: Path) -> None:
    said = trs("compare", seeds / "mnist-trs", seeds / "mnist-gal", "--stored").out
    assert "One seed each, so nothing is called between trainings" in said
    assert "seeds:" not in said


def test_json_and_csv_have_the_groups_and_their_members(trs, seeds: Path) -> None:
    trs("compare", seeds, "--stored", "--json", "o.json", "--csv", "o.csv")
    [table] = json.loads(Path("o.json").read_text())
    assert [(one["label"], one["group"], one["training_seed"]) for one in table["rows"]] == [
        ("gal", None, 0),
        ("mnist-trs", "trs", 0),
        ("mnist-trs-seed-1", "trs", 1),
        ("mnist-trs-seed-2", "trs", 2),
        ("mnist-standard", "standard", 0),
        ("mnist-standard-seed-1", "standard", 1),
        ("mnist-standard-seed-2", "standard", 2),
    ]
    trs_group, standard = table["groups"]
    assert (trs_group["label"], trs_group["seeds"], standard["runs"][2]) == ("trs", [0, 1, 2], "mnist-standard-seed-2")
    rate = trs_group["rates"][0]
    assert (rate["name"], rate["smallest"], rate["largest"], rate["n"], rate["seeds"]) == ("clean", 0.89, 0.92, 100, [0, 1, 2])
    assert rate["mean"] == pytest.approx(271 / 300)
    assert (100 * rate["t_low"], 100 * rate["t_high"]) == pytest.approx(t_interval(TRS))
    assert {one["called"] for one in table["comparisons"]} == {1}
    with Path("o.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    assert len(lines) == 9 * 21
    of_group = [line for line in lines if not line["run"] and line["group"] == "trs"]
    assert len(of_group) == 21
    assert (of_group[0]["seeds"], of_group[0]["correct"], float(of_group[0]["smallest"])) == ("0 1 2", "", 0.89)
    assert {line["group"] for line in lines if line["run"] == "mnist-trs-seed-1"} == {"trs"}
    assert {(line["group"], line["mean"], line["seeds"]) for line in lines if line["run"] == "mnist-gal"} == {("", "", "0")}


def test_markdown_has_a_column_a_group(trs, seeds: Path) -> None:
    said = trs("compare", seeds, "--stored", "--markdown").out.splitlines()
    assert said[0] == "| attack | gal | *paper* | trs, seeds 0-2 | *paper* | standard, seeds 0-2 |"
    low, high = t_interval(TRS)
    assert f" **90.3** (89.0..92.0; t {low:.1f}-{high:.1f}; i " in said[2]


# --- runs kept as their Table 1 --------------------------------------------------------------------------------------


@pytest.fixture
def tables(seeds: Path) -> Path:
    """The same runs: seeds 1 and 2 are their config.json and results/table1.json alone."""
    for run in seeds.glob("*-seed-*"):
        for path in run.iterdir():
            if path.name not in ("config.json", "results"):
                path.unlink()
    return seeds


def test_a_run_without_weights_is_compared_by_its_table(trs, tables: Path) -> None:
    for more in ((), ("--stored",)):
        said = trs("compare", tables, "--json", "o.json", *more)
        assert (said.status, said.err) == (0, "")
        assert [one["seeds"] for one in json.loads(Path("o.json").read_text())[0]["groups"]] == [[0, 1, 2], [0, 1, 2]]
    assert trs("compare", tables / "mnist-trs-seed-1", "--stored").status == 0


def test_it_cannot_be_measured_and_that_is_said_in_a_line(trs, tables: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trs_explorer.cli.train.train_run", lambda *_: pytest.fail("it was trained"))
    run = tables / "mnist-trs-seed-1"
    for command in (("evaluate", run), ("transfer", run), ("blackbox", run)):
        said = trs(*command)
        assert (said.status, said.out) == (1, "")
        assert said.err == f"trs: {run} has no weights here, only the figures of its Table 1: trs compare --stored shows them\n"
    assert trs("compare", run, "--again").err == f"trs: {run} cannot be measured: no weights are here\n"
    assert trs("compare", run, "--limit", 10).status == 0
    shown = trs("compare", run, "--limit", 10, "--stored")
    assert shown.status == 0
    file = run / "results" / "table1.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"versions": {"trs_explorer": "0.0.0"}}))
    assert trs("compare", run, "--limit", 10, "--stored") == shown  # a release does not blank it
    file.write_text(json.dumps(json.loads(file.read_text()) | {"seed": 7}))
    assert "not complete, or of fewer than 50 images" in trs("compare", run, "--limit", 50).err
    assert trs("compare", run, "--stored").out.count("missing") == 21 + 1
    resumed = trs("train", "--resume", run)
    assert "only the figures of its Table 1" in resumed.err
    assert sorted(path.name for path in run.iterdir()) == ["config.json", "results"]


@pytest.mark.slow
def test_a_damaged_table_alone_leaves_its_run_out(trs, tables: Path) -> None:
    file = tables / "mnist-trs-seed-1" / "results" / "table1.json"
    whole = json.loads(file.read_text())
    for damage in ({"checkpoint": "../x"}, {"checkpoint": None}, {"weights": 3}, {"checkpoint": "1" * 5000}):
        file.write_text(json.dumps(whole | damage))
        said = trs("compare", tables, "--stored", "--json", "o.json")
        assert (said.status, said.err.count("\n")) == (0, 1)
        assert said.err.startswith("left out: ")
        assert "its Table 1 does not say of which" in said.err
        assert json.loads(Path("o.json").read_text())[0]["groups"][0]["seeds"] == [0, 2]


def test_a_seed_whose_table_is_here_is_not_trained_again(tables: Path) -> None:
    from trs_explorer.cli.train_seeds import train_seeds

    said = []
    train_seeds({}, [1], tables / "mnist-trs", lambda run, **_: pytest.fail("it was trained"), said.append)
    assert said == [{"seed": 1, "run": str(tables / "mnist-trs-seed-1"), "state": "skipped"}]


def test_the_explorer_says_why_it_does_not_open_it(tables: Path) -> None:
    from trs_explorer.explore.library import Library

    library = Library([tables])
    assert library.checkpoints("mnist-trs-seed-1") == []
    with pytest.raises(runs.RunError) as error:
        library.load("mnist-trs-seed-1")
    assert str(error.value) == (
        "mnist-trs-seed-1 has no weights here, only the figures of its Table 1: trs compare --stored shows them"
    )
