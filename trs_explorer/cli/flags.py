"""Command-line flags from the options' declarations, and arguments that several commands share."""

import inspect
import os
import sys
import tomllib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Annotated

import typer

from trs_explorer.catalogue import DATA, METHODS, MODELS
from trs_explorer.config import DEFAULTS, SETTINGS
from trs_explorer.options import HYPER_PARAMETERS, Option, UsageError
from trs_explorer.runs import Run, RunError, open_run

RunArgument = Annotated[Path, typer.Argument(help="A run's folder, such as checkpoints/mnist-trs.", show_default=False)]
DeviceOption = Annotated[str, typer.Option("--device", help="auto, cpu or cuda; auto takes a GPU where there is one.")]
SeedOption = Annotated[int, typer.Option("--seed", min=0, help="Seed of the attack's random starts.")]
LimitOption = Annotated[int, typer.Option("--limit", min=1, help="Use the first N test images.")]
AsciiOption = Annotated[bool, typer.Option("--ascii", help="Draw the dashboard with ASCII characters only.")]
JsonFileOption = Annotated[Path | None, typer.Option("--json", help="Also write the result to this file.")]
CsvFileOption = Annotated[Path | None, typer.Option("--csv", help="Also write the rates to this file, a row each.")]

NAMES: dict[str, Iterable[str]] = {"method": METHODS, "data": DATA, "model": MODELS, "device": ("auto", "cpu", "cuda")}


def with_option_flags(command: Callable) -> Callable:
    """Give a command, which takes **values, one flag for every setting and hyper-parameter; unset ones are None."""
    own = [p for p in inspect.signature(command).parameters.values() if p.kind is not p.VAR_KEYWORD]
    made = [_flag(option, "Training", DEFAULTS[option.name]) for option in SETTINGS.values()]
    made += [_flag(option, "", None) for option in HYPER_PARAMETERS.values()]
    parameters = made + own
    command.__signature__ = inspect.Signature(parameters)
    command.__annotations__ = {p.name: p.annotation for p in parameters}
    return command


def _flag(option: Option, panel: str, default: object) -> inspect.Parameter:
    takers = {name: method.defaults[option.name] for name, method in METHODS.items() if option.name in method.defaults}
    parts = [option.help]
    if option.range_text and not option.choices:
        parts.append(f"[{option.range_text}]")
    if option.choices:
        parts.append(f"({', '.join(option.choices)})")
    if takers:
        default, panel = next(iter(takers.values())), f"Options of {', '.join(takers)}"
    if default not in (None, ""):
        parts.append(f"Default: {default}.")
    parts += [f"With {name} {m.recipe[option.name]}." for name, m in METHODS.items() if option.name in m.recipe]
    spelled = f"{option.flag}/--no-{option.flag.removeprefix('--')}" if option.type is bool else option.flag
    names = option.choices or tuple(NAMES.get(option.name, ()))

    def complete(incomplete: str) -> list[str]:
        return [name for name in names if name.startswith(incomplete)]

    flag = typer.Option(
        spelled,
        help=" ".join(parts),
        show_default=False,
        rich_help_panel=panel,
        autocompletion=complete if names else None,
    )
    annotation = Annotated[option.type | None, flag]
    return inspect.Parameter(option.name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)


def values_from_toml(path: Path) -> dict[str, object]:
    """Settings and hyper-parameters of a TOML file. Raises UsageError if it cannot be read or is not TOML."""
    try:
        values = tomllib.loads(path.read_text())
    except OSError as error:
        raise UsageError(f"--config {path}: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise UsageError(f"--config {path} is not TOML: {error}") from error
    return {name.replace("-", "_"): value for name, value in values.items()}


def given(values: Mapping[str, object]) -> dict[str, object]:
    """The flags that the user set."""
    return {name: value for name, value in values.items() if value is not None}


def run_at(path: Path) -> Run:
    """The run at path, or the shipped run of that name. Raises RunError that lists the runs there are."""
    from trs_explorer.shipped import shipped_runs

    if not path.exists() and len(path.parts) <= 2:
        shipped = {run.name: run for run in shipped_runs()}
        if path.name in shipped:
            return shipped[path.name]
        if path.parts[:-1] in ((), ("checkpoints",)):
            raise RunError(f"{path}: no such run. Shipped runs: {', '.join(shipped) or 'none'}")
    return open_run(path)


def on_terminal() -> bool:
    """Whether stdout is a terminal that understands more than lines."""
    return sys.stdout.isatty() and os.environ.get("TERM") != "dumb"


def can_draw() -> bool:
    """Whether the dashboard can: it reads keys from stdin and draws on stderr, and stdout should not be somebody's file."""
    return on_terminal() and sys.stdin.isatty() and sys.stderr.isatty()


def ascii_wanted(asked: bool) -> bool:
    """Whether the dashboard keeps to ASCII: when asked to, or where the terminal's encoding has no more."""
    return asked or "utf" not in (sys.stderr.encoding or "").lower()


def check_parent(file: Path | None) -> None:
    """Refuse a file to write whose folder is not there, before the work and not after it."""
    if file is None:
        return
    if str(file) == "-":
        raise UsageError("-: name a file (/dev/stdout is standard output)")
    if not file.absolute().parent.is_dir():
        raise UsageError(f"{file}: there is no folder {file.parent} to write to")
    if file.is_dir():
        raise UsageError(f"{file} is a folder: name a file")


def parse_list(text: str, what: str) -> list[str]:
    """The parts of a comma-separated value. Raises UsageError if there is none."""
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if not parts:
        raise UsageError(f"{what}: give at least one value")
    return parts


def parse_constants(text: str) -> list[float]:
    """Constants above 0. Raises UsageError for anything else."""
    found = _parse_numbers(text, "--c")
    for constant in found:
        if not 0 < constant < float("inf"):
            raise UsageError(f"--c must be finite and above 0, got {constant:g}")
    return found


def parse_radii(text: str) -> list[float]:
    """Radii in [0, 1]. Raises UsageError for anything else."""
    radii = _parse_numbers(text, "--eps")
    for radius in radii:
        if not 0 <= radius <= 1:
            raise UsageError(f"--eps must lie in [0, 1] (pixels are in [0, 1]), got {radius:g}")
    return radii


def _parse_numbers(text: str, flag: str) -> list[float]:
    found = []
    for part in parse_list(text, flag):
        try:
            found.append(float(part))
        except ValueError:
            raise UsageError(f"{flag} takes numbers separated by commas, got {part!r}") from None
    return found
