"""The command line of the benchmarks that need packages of the test extra."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from trs_explorer.bench.report import Measure, run
from trs_explorer.options import UsageError
from trs_explorer.runs import RunError

LEAST_ROUNDS = 3


def main(name: str, description: str, measure: Measure, arguments: Sequence[str] | None = None) -> int:
    """Run a benchmark with the arguments of the command line; returns the exit status."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--rounds", type=int, default=15, help="how often everything is measured; medians are shown")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures to this file")
    options = parser.parse_args(arguments)
    if options.rounds < LEAST_ROUNDS:
        parser.error(f"--rounds must be at least {LEAST_ROUNDS}")
    try:
        return run(name, measure, rounds=options.rounds, json_file=options.json)
    except (UsageError, RunError) as error:
        print(error, file=sys.stderr)
        return 2 if isinstance(error, UsageError) else 1
