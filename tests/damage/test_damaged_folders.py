"""Thousands of damaged and hostile run folders: every command on them ends in words, at once, and touches nothing else."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

SEEDS, CHUNK, SAMPLE = 3000, 150, 30
CHUNKS = [pytest.param(0, SAMPLE), pytest.param(SAMPLE, CHUNK, marks=pytest.mark.campaign)]
CHUNKS += [pytest.param(first, first + CHUNK, marks=pytest.mark.campaign) for first in range(CHUNK, SEEDS, CHUNK)]
ORACLE = Path(__file__).with_name("damage_oracle.py")

Ask = Callable[[int, int], list[dict]]


@pytest.fixture(scope="session")
def damaged() -> Iterator[Ask]:
    """damaged(first, last): what went wrong with the folders of those seeds; one process that answers for the session."""
    with subprocess.Popen(
        [sys.executable, "-W", "ignore", ORACLE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ORACLE.parent
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n", "the oracle did not start; run it by hand: it says why"

        def ask(first: int, last: int) -> list[dict]:
            process.stdin.write(f"{first} {last}\n")
            process.stdin.flush()
            return json.loads(process.stdout.readline())

        yield ask
        process.stdin.close()


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="FIFOs, /dev/full and /proc")
@pytest.mark.parametrize(("first", "last"), CHUNKS)
def test_every_command_ends_in_words_on_a_damaged_folder(damaged: Ask, first: int, last: int) -> None:
    wrong = damaged(first, last)
    assert not wrong, f"python {ORACLE.name} SEED shows one\n" + "\n".join(map(json.dumps, wrong))
