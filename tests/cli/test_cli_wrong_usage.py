"""What a user gets wrong: the exit status, and a message of one or two lines that names it."""

import shutil
from pathlib import Path

import pytest

from trs_explorer import runs
from trs_explorer.config import resolve

WRONG = {
    "train --method nosuch": ["--method", "'nosuch'", "Choose from standard, trs"],
    "train --method smoth-only": ["'smoth-only'", "Did you mean smooth-only"],
    "train --data bars --augment": ["--augment shifts and mirrors images, bars are points"],
    "train --data mnits": ["--data", "'mnits'", "Did you mean mnist"],
    "train --model resnet1000": ["--model", "'resnet1000'", "resnet20"],
    "train --members 1": ["--members must be >= 2 and <= 64, got 1"],
    "train --members 65": ["--members", "got 65"],
    "train --epochs 0": ["--epochs must be >= 1, got 0"],
    "train --batch-size -3": ["--batch-size", "got -3"],
    "train --lr 0": ["--lr must be > 0, got 0"],
    "train --lr nan": ["--lr must be > 0, got nan"],
    "train --lr inf": ["--lr", "got inf"],
    "train --seed -1": ["--seed", "got -1"],
    "train --seed 2147483648": ["--seed", "<= 2147483647, got 2147483648"],
    "train --seed 1" + 400 * "0": ["--seed", "got 1000"],
    "train --warmup 1.5": ["--warmup", "got 1.5"],
    "train --precision float16": ["--precision", "'float16'", "auto, float32, bfloat16"],
    "train --delta 2": ["--delta must be >= 0 and <= 1, got 2"],
    "train --lambda-a -1": ["--lambda-a must be >= 0, got -1"],
    "train --support-fraction 0": ["--support-fraction", "got 0"],
    "train --inner-order third": ["--inner-order", "'third'"],
    "train --method standard --lambda-a 1": ["standard has no --lambda-a; its options: none"],
    "train --method cos-only --lambda-b 1": ["cos-only fixes --lambda-b at 0"],
    "train --tui --plain": ["choose one of --tui, --plain and --json"],
    "train --plain --json": ["choose one of --tui, --plain and --json"],
    "train --tui --json": ["choose one of --tui, --plain and --json"],
    "train --config missing.toml": ["--config missing.toml", "No such file"],
    "train --config .": ["--config .", "Is a directory"],
    "train --device gpu": ["--device", "'gpu'", "auto, cpu, cuda or cuda:N"],
    "train --device meta": ["--device", "meta"],
    "evaluate {fresh} --attacks fgms": ["--attacks", "'fgms'", "Did you mean fgsm"],
    "evaluate {fresh} --attacks ,": ["--attacks: give at least one value"],
    "evaluate {fresh} --eps 2": ["--eps must lie in [0, 1]", "got 2"],
    "evaluate {fresh} --eps 0.1,-0.1": ["--eps must lie in [0, 1]", "got -0.1"],
    "evaluate {fresh} --eps nan": ["--eps must lie in [0, 1]", "got nan"],
    "evaluate {fresh} --eps 8/0": ["--eps takes numbers such as 0.03 or 8/255, got '8/0'"],
    "evaluate {fresh} --eps 1/2/3": ["--eps takes numbers", "'1/2/3'"],
    "evaluate {fresh} --eps 8/": ["--eps takes numbers", "'8/'"],
    "evaluate {fresh} --eps 300/255": ["--eps must lie in [0, 1]", "got 1.17647"],
    "evaluate {fresh} --eps 1/1e-999999999": ["--eps takes numbers"],
    "evaluate {fresh} --seed 18446744073709551616": ["--seed must be >= 0 and <= 2147483647, got 18446744073709551616"],
    "evaluate {fresh} --limit 1000000000000": ["--limit must be >= 1 and <= 1000000"],
    "evaluate {fresh} --steps 1000000000000": ["--steps must be >= 1 and <= 100000"],
    "evaluate {fresh} --restarts 1000000000000": ["--restarts must be >= 1 and <= 1000"],
    "evaluate {fresh} --attacks cw --c 1e300": ["--c must be", "<= 10000000000.0, got 1e+300"],
    "evaluate {fresh} --norm l3 --eps 1": ["--norm", "'l3'", "linf, l2"],
    "evaluate {fresh} --norm l2": ["--norm l2: give --eps too"],
    "evaluate {fresh} --norm l2 --eps 1.5": ["--eps 1.5: no two images of bars are further apart than 1.414 in l2"],
    "evaluate {fresh} --norm l2 --eps inf": ["--eps must be finite"],
    "evaluate {fresh} --norm l2 --eps 1 --attacks cw,ead": ["--norm l2: cw and ead have no radius"],
    "evaluate {fresh} --confidence 5": ["--confidence: fgsm and pgd take none; cw and ead do"],
    "evaluate {fresh} --attacks cw --confidence -1": ["--confidence must be >= 0", "got -1"],
    "transfer {fresh} --seed 18446744073709551616": ["--seed must be >= 0 and <= 2147483647"],
    "transfer {fresh} --attack cw --norm l2": ["--norm l2: cw has no radius"],
    "transfer {fresh} --norm l2": ["--norm l2: give --eps too"],
    "evaluate {fresh} --attacks mora --loss dlr": ["--loss dlr: mora takes ce or margin"],
    "evaluate {fresh} --loss mse": ["--loss: there is no 'mse'", "ce, margin, dlr"],
    "evaluate {fresh} --loss dlr": ["--loss: dlr needs 3 classes, bars has 2: take ce or margin"],
    "evaluate {fresh} --attacks apgd-ce,cw --step-size 0.1": ["--step-size: apgd-ce and cw take none"],
    "evaluate {fresh} --step-size 0": ["--step-size must be > 0", "got 0.0"],
    "evaluate {fresh} --step-size x": ["--step-size takes numbers such as 0.03 or 8/255, got 'x'"],
    "evaluate {fresh} --attacks fgsm --restarts 2": ["--restarts: fgsm takes none"],
    "transfer {fresh} --attack bim --restarts 2": [
        "--restarts: bim takes none; pgd, apgd-ce, apgd-dlr, mora, apgd-t and pgd-members do"
    ],
    "blackbox {fresh} --attacks mim --loss ce": ["--loss: mim takes none; pgd, mora, apgd-t and ira do"],
    "transfer {fresh} --confidence 5": ["--confidence: pgd takes none; cw and ead do"],
    "transfer {fresh} --attack cw --confidence 5,6": ["--confidence takes one number, got 5,6"],
    "blackbox {fresh} --seed 18446744073709551616": ["--seed must be >= 0 and <= 2147483647"],
    "blackbox {fresh} --norm l2": ["--norm l2: give --eps too"],
    "blackbox {fresh} --norm l2 --eps 9": ["--eps 9: no two images of bars are further apart"],
    "compare {fresh} --limit 1000000000000": ["--limit must be >= 1 and <= 1000000"],
    "train --delta 8/0": ["--delta takes numbers such as 0.03 or 8/255, got '8/0'"],
    "train --delta 256/255": ["--delta must be >= 0 and <= 1, got 1.00392"],
    "train --lr fast": ["--lr takes numbers", "'fast'"],
    "transfer {fresh} --attack pdg": ["--attack", "'pdg'", "Did you mean pgd"],
    "transfer {fresh} --eps 2": ["--eps must lie in [0, 1]", "got 2"],
    "transfer {fresh} --eps 0.1,0.2": ["--eps: a matrix has one value, got 0.1,0.2"],
    "data nosuch": ["trs data: there is no 'nosuch'. Choose list or get"],
    "data get": ["name a data set: mnist"],
    "data get mnits": ["'mnits'", "Did you mean mnist"],
    "data get mnist --data-dir /no/such/folder": ["/no/such/folder", "--data-dir"],
    "bench step --json -": ["-: name a file (/dev/stdout"],
    "watch {fresh} --against {fresh}": ["--against", "that is the run itself"],
    "bench nosuch": ["trs bench", "'nosuch'", "step"],
    "bench attacks": ["python tests/bench/attacks.py", "pip install 'trs-explorer[test]'"],
    "bench explore": ["python tests/bench/explore.py", "pip install 'trs-explorer[test]'"],
}
FAILED = {
    "train --resume nowhere": ["nowhere: no such run folder"],
    "train --out taken": ["taken exists and is not empty: choose another --out"],
    "train --out taken/file": ["cannot write to taken/file"],
    "train --out taken/file/below": ["cannot write to taken/file/below"],
    "evaluate nowhere": ["nowhere: no such run"],
    "evaluate checkpoints/nowhere": ["checkpoints/nowhere: no such run"],
    "evaluate taken": ["taken is not a run: it has no config.json"],
    "evaluate {bare}": ["bare has no checkpoint yet: nothing has been saved"],
    "transfer {bare}": ["bare has no checkpoint yet: nothing has been saved"],
    "transfer nowhere": ["nowhere: no such run"],
    "watch nowhere": ["nowhere: no such run"],
}


LINES = [(line, 2) for line in WRONG] + [(line, 1) for line in FAILED]


@pytest.fixture(autouse=True)
def _no_training(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """What should have been refused fails its test at once, instead of training for an hour."""
    if "being_trained" not in request.node.name:
        monkeypatch.setattr("trs_explorer.cli.train._train_here", lambda *_: pytest.fail("it was not refused"))


@pytest.mark.parametrize(("line", "status"), LINES, ids=lambda v: str(v)[:60])
def test_the_message_names_it_and_nothing_is_made(trs, fresh: runs.Run, tmp_path: Path, line: str, status: int) -> None:
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "file").write_text("kept")
    bare = runs.create(tmp_path / "bare", resolve({"data": "bars"}))
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    result = trs(*line.format(fresh=fresh.path, bare=bare.path).split())
    assert result.status == status
    assert result.out == ""
    assert result.err.startswith("trs: ")
    assert result.err.count("\n") <= 2
    assert len(result.err) < 600
    assert "Traceback" not in result.err
    for words in (WRONG | FAILED)[line]:
        assert words in result.err
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


def test_a_gpu_that_is_not_here_is_refused_before_a_folder_is_made(trs, tmp_path: Path) -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    for name in ("cuda", "cuda:1"):
        result = trs("train", "--device", name, "--out", tmp_path / "out")
        assert (result.status, result.out) == (2, "")
        assert f"--device {name}: this machine has no usable CUDA GPU" in result.err
        assert "use --device auto" in result.err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("train --members three", "--members"),
        ("train --lr fast", "--lr"),
        ("train --lambda-c 1", "--lambda-c"),
        ("evaluate", "run"),
        ("evaluate x --limit 0", "--limit"),
        ("evaluate x --steps 0", "--steps"),
        ("evaluate x --restarts 0", "--restarts"),
        ("evaluate x --seed -1", "--seed"),
        ("transfer", "run"),
        ("trian", "trian"),
    ],
)
def test_what_the_flag_parser_refuses_is_wrong_usage_too(trs, line: str, words: str) -> None:
    result = trs(*line.split())
    assert result.status == 2
    assert result.out == ""
    assert words.lower() in result.err.lower()
    assert "Traceback" not in result.err


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"members = ", "is not TOML"),
        (b"\xef\xbb\xbfmembers = 1", "--members must be >= 2 and <= 64, got 1"),
        ("# größer als ε\nmembers = 1".encode(), "--members must be >= 2 and <= 64, got 1"),
        (b"delta = '8/0'", "--delta takes numbers such as 0.03 or 8/255, got '8/0'"),
        (b"delta = '256/255'", "--delta must be >= 0 and <= 1, got 1.00392"),
        (b"delta = '0.5'", "--delta takes a number, got '0.5'"),
        (b"\xff\xfe", "is not TOML"),
        (b"a = " + b"[" * 5000, "is not TOML"),
        (b"seed = 1" + b"0" * 5000, "is not TOML"),
        (b"seed = 1" + b"0" * 400, "--seed must be"),
        (b"members = 1", "--members must be >= 2 and <= 64, got 1"),
        (b"members = '3'", "--members takes a whole number, got '3'"),
        (b"lr = true", "--lr takes a number, got True"),
        (b"lr = nan", "--lr must be > 0, got nan"),
        (b"lr = 2026-01-01", "--lr takes a number, got datetime.date"),
        (b"[trs]\nlambda_a = 1.0", "no table [trs]: write settings at the top, a method's options there or in [options]"),
        (b"lambda_aa = 1.0", "there is no 'lambda_aa'. Did you mean lambda_a?"),
        (b"out = 'x'", "there is no 'out'"),
        (b"options = 1", "no table options: write"),
        (b"lambda-a = 1.0\n[options]\nlambda_a = 2.0", "lambda_a is there twice"),
        (b"delta = '1/0'", "--delta takes numbers such as 0.03 or 8/255, got '1/0'"),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_a_config_file_that_will_not_do_is_wrong_usage(trs, tmp_path: Path, text: bytes, words: str) -> None:
    (tmp_path / "wrong.toml").write_bytes(text)
    result = trs("train", "--config", "wrong.toml")
    assert (result.status, result.out) == (2, "")
    assert words in result.err
    assert len(result.err) < 600
    assert result.err.count("\n") <= 2
    assert not (tmp_path / "checkpoints").exists()


def test_resume_takes_no_other_settings(trs, fresh: runs.Run) -> None:
    result = trs("train", "--resume", fresh.path, "--lambda-a", 1, "--batch-size", 3, "--out", "x", "--config", "y")
    assert result.status == 2
    assert "drop --batch-size, --lambda-a, --out, --config" in result.err


def test_a_finished_run_is_not_resumed(trs, trained: Path) -> None:
    result = trs("train", "--resume", trained)
    assert result.status == 2
    assert f"{trained} is finished: nothing is left to train" in result.err


@pytest.mark.parametrize("way", ["link that leads nowhere", "file"])
def test_what_is_in_the_way_of_the_folder_of_runs_is_said_at_once(trs, tmp_path: Path, way: str) -> None:
    checkpoints = tmp_path / "checkpoints"
    checkpoints.symlink_to(tmp_path / "nowhere") if way.startswith("link") else checkpoints.touch()
    result = trs("train", "--data", "bars", "--plain")
    assert (result.status, result.out) == (1, "")
    assert result.err.count("\n") == 1
    assert "cannot write to checkpoints" in result.err
    assert "Move the file, or the link that leads nowhere, out of the way" in result.err
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoints"]


def test_a_run_that_is_being_trained_is_not_resumed_or_changed(trs, fresh: runs.Run, monkeypatch) -> None:
    monkeypatch.setattr(runs, "TRAINER_LOCK_SECONDS", 0.1)
    lock = runs.trainer_lock(fresh)
    fresh.write_status(state="running", step=1)
    status = (fresh.path / "status.json").read_text()
    result = trs("train", "--resume", fresh.path, "--plain")
    lock.release()
    assert result.status == 1
    assert "is being trained by process" in result.err
    assert (fresh.path / "status.json").read_text() == status
    assert (fresh.path / "events.jsonl").read_bytes() == b""


def test_a_run_of_a_newer_format_is_refused_by_every_reader(trs, fresh: runs.Run, tmp_path: Path) -> None:
    config = fresh.path / "config.json"
    config.write_text(config.read_text().replace('"format": 1', '"format": 2'))
    shutil.copytree(fresh.path, tmp_path / "copy")
    for line in ("evaluate copy", "transfer copy", "watch copy", "train --resume copy"):
        result = trs(*line.split())
        assert result.status == 1
        assert "format 2, this trs reads up to 1: update trs-explorer" in result.err


def test_debug_gives_the_traceback_wherever_it_stands(trs, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    from trs_explorer.cli import main
    from trs_explorer.options import UsageError

    monkeypatch.setenv("TRS_DEBUG", "0")  # main sets it: undone after this test
    for line in ("train --members 1 --debug", "--debug train --members 1"):
        monkeypatch.setattr(sys, "argv", ["trs", *line.split()])
        with pytest.raises(UsageError, match="got 1"):
            main()
