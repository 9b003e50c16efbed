"""`trs blackbox` on small runs: surrogates trained once and kept, counts that agree wherever they stand, and what is refused."""

import csv
import json
import shutil
from pathlib import Path

import pytest

from trs_explorer import runs
from trs_explorer.config import resolve
from trs_explorer.training import surrogates


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Surrogates of 2 and 3 members, trained in a blink."""
    monkeypatch.setattr(surrogates, "MEMBERS", (2, 3))
    monkeypatch.setattr(surrogates, "EPOCHS", {"bars": 4})


@pytest.mark.slow
@pytest.mark.usefixtures("small")
def test_surrogates_are_trained_once_and_every_figure_is_the_same_everywhere(trs, trained: Path, fresh: runs.Run) -> None:
    files = ("--json", "b.json", "--csv", "b.csv")
    first = trs("blackbox", trained, fresh.path, "--eps", "0.1,0.3", "--limit", 20, *files)
    assert first.status == 0
    assert first.err.count("once: a standard ensemble of") == 2
    kept = sorted(path.name for path in Path("checkpoints").iterdir())
    assert kept == ["surrogate-bars-mlp-2", "surrogate-bars-mlp-3"]
    results = json.loads(Path("b.json").read_text())
    assert [result["run"] for result in results] == ["trained", "fresh"]
    with Path("b.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    for result, path in zip(results, (trained, fresh.path), strict=True):
        [stored] = (json.loads(file.read_text()) for file in (path / "results").iterdir())
        assert stored == result
        assert [maker["name"] for maker in result["surrogates"]] == kept
        for row in result["rows"]:
            assert row["attempts"] == len(row["each"]) == 12
            outcomes = [rate["outcomes"] for rate in row["each"]]
            assert row["robust"]["outcomes"] == [all(image) for image in zip(*outcomes, strict=True)]
            assert row["robust"]["correct"] == sum(row["robust"]["outcomes"])
            assert row["per_attempt"]["share"] == pytest.approx(sum(map(sum, outcomes)) / (12 * 20))
            assert f"{row['robust']['correct'] / 0.2:.1f} (" in first.out
        mine = [row for row in rows if row["run"] == result["run"]]
        assert len(mine) == 2 * (12 + 2)
        assert [int(row["correct"]) for row in mine if row["attempt"] == "every attempt"] == [
            row["robust"]["correct"] for row in result["rows"]
        ]
    surrogates.standard_surrogates(runs.open_run(trained), device="cpu")  # finds them
    assert "once" not in trs("blackbox", trained, "--eps", "0", "--limit", 1).err


@pytest.mark.slow
def test_curves_need_no_network_and_say_what_the_figures_are(trs, trained: Path, fresh: runs.Run) -> None:
    command = ("blackbox", trained, "--surrogates", fresh.path, "--eps", "0.1,0.3", "--limit", 20)
    trs(*command, "--json", "b.json", "--html", "b.html")
    [result] = json.loads(Path("b.json").read_text())
    page = Path("b.html").read_text()
    assert "Black box: accuracy after all attempts, % of 20 images" in page
    assert f"{result['rows'][1]['robust']['correct']} of 20 correct after all 6 attempts" in page
    assert "<script src=" not in page  # nothing is fetched


@pytest.mark.slow
def test_an_interrupted_black_box_goes_on_where_it_stopped(
    trs, trained: Path, fresh: runs.Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    from trs_explorer.measure import blackbox_session

    named = ("--surrogates", fresh.path, "--limit", 20, "--json", "b.json")
    command = ("blackbox", trained, "--eps", "0.3", "--attacks", "pgd,mim", *named)
    trs(*command)
    [whole] = json.loads(Path("b.json").read_text())
    assert [row["attack"] for row in whole["rows"]] == ["pgd", "mim", "all"]
    assert whole["rows"][2]["attempts"] == 7
    shutil.rmtree(trained / "results")
    true, seen = blackbox_session.measure_attempt, []

    def counted(attempt, *rest, **more):
        seen.append(attempt.name)
        if len(seen) == 5:
            raise KeyboardInterrupt
        return true(attempt, *rest, **more)

    monkeypatch.setattr(blackbox_session, "measure_attempt", counted)
    stopped = trs(*command)
    assert stopped.status == 130
    assert "continues from there" in stopped.err
    done = trs(*command)
    assert done.status == 0
    assert len(seen) == 5 + 7 - 4
    assert json.loads(Path("b.json").read_text()) == [whole]
    assert [path.name.split("-")[0] for path in (trained / "results").iterdir()] == ["blackbox"]


@pytest.mark.slow
def test_what_is_no_black_box_is_refused(trs, trained: Path, fresh: runs.Run, tmp_path: Path) -> None:
    def refused(*arguments: object) -> str:
        result = trs("blackbox", *arguments)
        assert result.status in (1, 2)
        assert result.out == ""
        return result.err

    assert "trained is one of its own surrogates: that is no black box. Name other runs" in refused(
        trained, "--surrogates", trained
    )
    assert "fresh is on bars, mnist-trs on mnist" in refused("mnist-trs", "--surrogates", fresh.path)
    assert "these are of bars and mnist" in refused("mnist-trs", trained)
    assert "--attacks" in refused(trained, "--attacks", "cw")
    assert "apgd-dlr needs 3 classes" in refused(trained, "--attacks", "apgd-dlr")
    empty = runs.create(tmp_path / "empty", fresh.config)
    assert "has no checkpoint yet" in refused(trained, empty.path)
    lenet = runs.create(tmp_path / "lenet", resolve({"data": "bars", "model": "mlp", "members": 2}))
    shutil.copytree(fresh.path, tmp_path / "small")
    (tmp_path / "small" / "config.json").write_text((lenet.path / "config.json").read_text().replace('"mlp"', '"small"'))
    assert "runs of one model share the images, these are of mlp and small" in refused(trained, tmp_path / "small")
    copied = tmp_path / "elsewhere" / "fresh"
    shutil.copytree(fresh.path, copied)
    assert "two of one name: fresh, fresh" in refused(trained, "--surrogates", f"{fresh.path},{copied}")
    (tmp_path / "checkpoints").mkdir()
    shutil.copytree(fresh.path, tmp_path / "checkpoints" / "surrogate-bars-mlp-3")
    assert "is another training than is needed here" in refused(trained)


def test_surrogates_of_ones_own(trs, trained: Path, fresh: runs.Run) -> None:
    result = trs("blackbox", trained, "--surrogates", fresh.path, "--eps", 0.3, "--limit", 20, "--json", "b.json")
    assert result.status == 0
    [stored] = json.loads(Path("b.json").read_text())
    assert [maker["name"] for maker in stored["surrogates"]] == ["fresh"]
    assert stored["rows"][0]["attempts"] == 6
    assert not Path("checkpoints").exists()


def test_a_curves_band_goes_out_on_the_upper_ends_and_back_on_the_lower_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    from plotly.graph_objects import Figure

    from trs_explorer.cli.blackbox_page import curve_page

    def row(eps: float, correct: int, white: int) -> dict:
        robust = {"eps": eps, "n": 100, "correct": correct, "accuracy": correct / 100}
        robust |= {"low": correct / 100 - 0.05, "high": correct / 100 + 0.03}
        return {"attack": "pgd", "attempts": 18, "robust": robust, "white_box": {"correct": white, "n": 100}}

    seen: list[Figure] = []
    monkeypatch.setattr(Figure, "to_html", lambda figure, **_: seen.append(figure) or "")
    rows = [row(0.1, 80, 70), row(0.2, 50, 30), row(0.3, 20, 10)]
    curve_page([{"run": "r", "rows": rows, "surrogates": [{"name": "s"}], "norm": "linf"}])
    band, white, curve = seen[0].data
    ends = [(0.1, 83), (0.2, 53), (0.3, 23), (0.3, 15), (0.2, 45), (0.1, 75)]
    assert list(zip(band.x, map(round, band.y), strict=True)) == ends
    assert list(zip(white.x, map(round, white.y), strict=True)) == [(0.1, 70), (0.2, 30), (0.3, 10)]
    assert list(zip(curve.x, map(round, curve.y), strict=True)) == [(0.1, 80), (0.2, 50), (0.3, 20)]
