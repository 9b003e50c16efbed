"""The TOML file of `trs sweep`: what is fixed, what varies, what is measured. Named sweeps are such files in the package."""

import re
import tomllib
from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any

from trs_explorer import plugins, sweep_plan
from trs_explorer.attack_catalogue import ATTACK_OPTIONS
from trs_explorer.cli.config_file import read_toml, setting, settings_of
from trs_explorer.cli.evaluate import SETS
from trs_explorer.cli.flags import attack_options, parse_attacks, parse_constants, parse_list, parse_radii
from trs_explorer.options import MEASURING, UsageError, unknown
from trs_explorer.seeds import parse_seeds
from trs_explorer.sweep_plan import MEASURES, Measure, Sweep

NAMED = Path(sweep_plan.__file__).parent / "sweeps"
TOP = ("summary", "seeds", "measure", "fixed", "grid", "trial", *MEASURES)
EXAMPLE = """\
  seeds = "0-2"                 # each trial with each of them
  measure = ["evaluate"]        # after each training: table1, evaluate, transfer, blackbox

  [fixed]                       # settings of all trials, as in the file of trs train --config
  data = "mnist"

  [grid]                        # every combination; or tables [[trial]], one for each trial
  method = ["trs", "smooth-only"]
  lambda_b = [0.05, 0.1, 0.2]

  [evaluate]                    # flags of trs evaluate
  attacks = "pgd,mora"
  eps = [0.1, 0.15]
"""
_ATTACK_FLAGS = {"attacks", "eps", "norm", "loss", "step_size", "restarts", "limit", "seed"}
# The flags of each command that a description may set: those that decide what is measured.
FLAGS = {
    "table1": {"limit"},
    "evaluate": _ATTACK_FLAGS | {"c", "confidence", "effort", "steps", "trust"},
    "transfer": (_ATTACK_FLAGS - {"attacks"}) | {"attack", "c", "confidence", "steps", "targeted", "protocol"},
    "blackbox": _ATTACK_FLAGS | {"surrogates"},
}


def read_sweep(name: str, overrides: Sequence[str] = (), seeds: str | None = None) -> Sweep:
    """The sweep that a TOML file describes.

    - name: of a sweep of the package, or the path of a file.
    - overrides: "setting=value" texts, which replace what [fixed] and each [[trial]] have, or add to [fixed].
    - seeds: take the place of the file's.

    Raises: UsageError with the file, the key and the wrong value.
    """
    path = path_of(name)
    source = str(path) if path.parent != NAMED else name
    content: dict[str, Any] = read_toml(path, source)
    for key in content:
        if key not in TOP:
            raise UsageError(f"{source}: {unknown('key', key, TOP)}")
    chosen = _overrides(overrides)
    fixed = settings_of(_table(content, "fixed", source), path, f"{source}: [fixed]") | chosen
    grid = _grid(_table(content, "grid", source), path, source)
    listed = content.get("trial", [])
    if not isinstance(listed, list) or not all(isinstance(one, dict) and one for one in listed):
        raise UsageError(f"{source}: trial: write each trial as a table [[trial]] with at least one setting")
    trials = [settings_of(one, path, f"{source}: [[trial]] {number}", chosen) for number, one in enumerate(listed, 1)]
    if not isinstance(content.get("summary", ""), str):
        raise UsageError(f"{source}: summary must be text, got {content['summary']!r}")
    chosen_seeds = None if seeds is None else parse_seeds(seeds)
    try:
        each = _seeds(content.get("seeds"))
        measures = _measures(content)
        if not (fixed or grid or trials):
            raise UsageError("nothing says what to train: write [fixed], [grid] or [[trial]]")
        return Sweep(sweep_plan.expand(fixed, grid, trials, each if chosen_seeds is None else chosen_seeds), measures)
    except UsageError as error:
        raise UsageError(f"{source}: {error}") from error


def path_of(name: str) -> Path:
    """The file of a sweep: of the package by its name, else by its path. Raises UsageError if there is none."""
    if name in named():
        return NAMED / f"{name}.toml"
    path = Path(name)
    if path.suffix != ".toml" and not path.is_file():
        raise UsageError(unknown("sweep", name, named()) + ", or name a file, mine.toml")
    return path


@cache
def named() -> tuple[str, ...]:
    """The names of the sweeps that are in the package."""
    return tuple(sorted(path.stem for path in NAMED.glob("*.toml")))


def summaries() -> list[str]:
    """A line for each named sweep: what it is, and how many trainings it has."""
    lines = []
    for name in named():
        summary = tomllib.loads((NAMED / f"{name}.toml").read_text("utf-8")).get("summary", "")
        lines.append(f"{name}: {summary} ({len(read_sweep(name).trials)} trainings)")
    return lines


def _table(content: Mapping[str, Any], name: str, source: str) -> dict[str, Any]:
    table = content.get(name, {})
    if not isinstance(table, dict):
        raise UsageError(f"{source}: {name} must be a table [{name}], got {table!r}")
    return table


def _grid(table: Mapping[str, Any], path: Path, source: str) -> dict[str, list[Any]]:
    grid = {}
    for key, values in table.items():
        name = key.replace("-", "_")
        if not isinstance(values, list) or not values:
            raise UsageError(f"{source}: [grid] {key} must be a list of values, got {values!r}")
        if name in grid:
            raise UsageError(f"{source}: [grid] has {key} twice, also as {name}: drop one")
        grid[name] = [setting(name, value, path, f"{source}: [grid] {key}") for value in values]
    return grid


def _overrides(texts: Sequence[str]) -> dict[str, Any]:
    values = {}
    for text in texts:
        name, equals, value = text.partition("=")
        name = name.strip().replace("-", "_")
        if not equals or not re.fullmatch(r"\w+", name):
            raise UsageError(f"--set takes a setting and its value, such as epochs=5, got {text!r}")
        try:
            parsed = tomllib.loads(f"value = {value}")["value"]
        except tomllib.TOMLDecodeError:
            parsed = value.strip()
        values[name] = setting(name, parsed, Path.cwd() / "flag", f"--set {text}")
    return values


def _seeds(value: object) -> list[int]:
    if value is None:
        return []
    if isinstance(value, list):
        value = ",".join(map(str, value))
    if not isinstance(value, str | int) or isinstance(value, bool):
        raise UsageError(f'seeds must be text such as "0-2", or a list of seeds, got {value!r}')
    return parse_seeds(str(value), name="seeds")


def _measures(content: Mapping[str, Any]) -> list[Measure]:
    names = content.get("measure", [])
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise UsageError(f'measure must be a list such as ["table1"], got {names!r}')
    for name in names:
        if name not in MEASURES:
            raise UsageError(unknown("measure", name, MEASURES))
    if len(set(names)) < len(names):
        raise UsageError(f"measure: each once, got {names!r}")
    for name in MEASURES:
        if name in content and name not in names:
            raise UsageError(f"[{name}] is there, but measure does not have {name!r}: add it, or drop the table")
    return [Measure(name, _flags(name, content.get(name, {}))) for name in names]


def _flags(what: str, table: object) -> dict[str, Any]:
    """The flags of a measurement, each checked as the command checks it."""
    if not isinstance(table, dict):
        raise UsageError(f"{what} must be a table [{what}], got {table!r}")
    options: dict[str, Any] = {}
    for key, value in table.items():
        name = key.replace("-", "_")
        if name not in FLAGS[what]:
            raise UsageError(f"[{what}] {unknown('flag', key, tuple(sorted(FLAGS[what])))}")
        options[name] = ",".join(map(str, value)) if isinstance(value, list) else value
    try:
        for name, value in options.items():
            _CHECKS.get(name, lambda value: value)(value)
        _check_together(what, options)
    except UsageError as error:
        raise UsageError(f"[{what}] {error}") from error
    return options


def _check_together(what: str, options: Mapping[str, Any]) -> None:
    """Check the flags that depend on others. Raises UsageError."""
    if what == "table1":
        return
    names = parse_attacks(str(options.get("attacks", options.get("attack", "pgd"))), sets=SETS)
    norm = str(options.get("norm", "linf"))
    parse_radii(None if "eps" not in options else str(options["eps"]), norm)
    texts = {name: str(options[name]) for name in ("confidence", "effort", "step_size") if name in options}
    if what != "blackbox":  # which has ways of its own with --loss
        attack_options(names, norm=norm, loss=options.get("loss"), **texts)


def _whole_number(value: object, *, name: str) -> None:
    (MEASURING | ATTACK_OPTIONS)[name].check(value)


def _true_or_false(value: object) -> None:
    if not isinstance(value, bool):
        raise UsageError(f"takes true or false, got {value!r}")


def _attacks(value: object) -> None:
    for name in parse_list(str(value), "--attacks"):
        if plugins.is_foreign("attack", name):
            plugins.allow("attack", name)
    parse_attacks(str(value), sets=SETS)


_CHECKS: dict[str, Callable[[Any], object]] = {
    **{name: partial(_whole_number, name=name) for name in ("limit", "seed", "steps", "restarts")},
    **dict.fromkeys(("trust", "targeted"), _true_or_false),
    **dict.fromkeys(("attacks", "attack"), _attacks),
    "c": lambda value: parse_constants(str(value)),
}
