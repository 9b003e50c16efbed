"""Flags made from the declared options, flags that several commands share, and the parsing of their values."""

import inspect
import math
import os
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from trs_explorer import plugins
from trs_explorer.attack_catalogue import (
    ATTACK_OPTIONS,
    ATTACKS,
    DLR_CLASSES,
    LOSSES,
    NORMS,
    attack,
    check_attack_options,
    takes,
)
from trs_explorer.catalogue import DATA, METHODS, MODELS
from trs_explorer.config import DEFAULTS, SETTINGS
from trs_explorer.files import printable
from trs_explorer.options import HYPER_PARAMETERS, MEASURING, Option, UsageError, parse_number, unknown
from trs_explorer.results import why_unsaved
from trs_explorer.runs import Run, RunError
from trs_explorer.shipped import run_at  # noqa: F401 (commands import it from here)


def _integer_flag(name: str) -> Any:
    """The flag of an integer option in MEASURING or ATTACK_OPTIONS."""
    option = (MEASURING | ATTACK_OPTIONS)[name]
    return typer.Option(option.flag, help=option.help, callback=option.check, metavar="INTEGER")


RunArgument = Annotated[Path, typer.Argument(help="Folder of a run, such as checkpoints/mnist-trs.", show_default=False)]
DeviceOption = Annotated[str, typer.Option("--device", help="auto, cpu or cuda. auto: a GPU if there is one.")]
SeedOption = Annotated[int, _integer_flag("seed")]
LimitOption = Annotated[int, _integer_flag("limit")]
StepsOption = Annotated[int, _integer_flag("steps")]
RestartsOption = Annotated[int, _integer_flag("restarts")]
NormOption = Annotated[str, typer.Option("--norm", help="Norm of the radius: linf (maximum norm) or l2.")]
ConfidenceOption = Annotated[
    str | None,
    typer.Option("--confidence", help="Margin by which cw and ead must fool the model, in logits. Default: each attack's own."),
]
LossOption = Annotated[
    str | None,
    typer.Option(
        "--loss", help=f"What pgd, mora, apgd-t and ira maximise: {', '.join(LOSSES)}. Default: each attack's usual one."
    ),
]
EffortOption = Annotated[
    str | None,
    typer.Option("--effort", help="Share of the usual steps and queries of strong's parts: 0.1 for a quick look. Default: 1."),
]
StepSizeOption = Annotated[
    str | None,
    typer.Option("--step-size", help="Length of a step in [0, 1] pixels, such as 0.01 or 2/255. Default: the attack's own."),
]
DataDirOption = Annotated[
    Path | None,
    typer.Option("--data-dir", help="Folder with the data set's files, if they have moved since the training."),
]
AsciiOption = Annotated[bool, typer.Option("--ascii", help="Draw the dashboard with ASCII characters only.")]
JsonFileOption = Annotated[Path | None, typer.Option("--json", help="Also write the result to this file.")]
CsvFileOption = Annotated[Path | None, typer.Option("--csv", help="Also write the rates to this file, one per row.")]

ATTACK_NAMES = ", ".join((*ATTACKS, *plugins.installed("attack")))  # for help
WITH_RADIUS = (*(name for name, attack in ATTACKS.items() if attack.has_radius), *plugins.installed("attack"))

AllowCodeOption = Annotated[
    bool,
    typer.Option(
        "--allow-code",
        help="Run the code of others that the runs' configs name (custom models, methods, data). Only for runs that you trust.",
        callback=plugins.allow_runs,
        is_eager=True,
    ),
]

NAMES: dict[str, Iterable[str]] = {"method": METHODS, "data": DATA, "model": MODELS, "device": ("auto", "cpu", "cuda")}


def with_option_flags(command: Callable) -> Callable:
    """Add a flag for every setting and hyper-parameter to a command that takes **values. Unset flags are None."""
    explicit = [p for p in inspect.signature(command).parameters.values() if p.kind is not p.VAR_KEYWORD]
    generated = [option_flag(option, "Training", DEFAULTS[option.name]) for option in SETTINGS.values()]
    generated += [option_flag(option, "", None) for option in HYPER_PARAMETERS.values()]
    parameters = generated + explicit
    command.__signature__ = inspect.Signature(parameters)
    command.__annotations__ = {p.name: p.annotation for p in parameters}
    return command


def option_flag(option: Option, panel: str, default: object) -> inspect.Parameter:
    """The flag of a declared option, as the parameter of a command; None where it is not given."""
    defaults = {name: method.defaults[option.name] for name, method in METHODS.items() if option.name in method.defaults}
    parts = [option.help]
    if option.range_text and not option.choices:
        parts.append(f"[{option.range_text}]")
    if option.choices:
        parts.append(f"({', '.join(option.choices)})")
    if defaults:
        default, panel = next(iter(defaults.values())), f"Options of {', '.join(defaults)}"
    if default not in (None, ""):
        parts.append(f"Default: {default}.")
    parts += [f"With {name} {m.recipe[option.name]}." for name, m in METHODS.items() if option.name in m.recipe]
    spelling = f"{option.flag}/--no-{option.flag.removeprefix('--')}" if option.type is bool else option.flag
    names = option.choices or tuple(NAMES.get(option.name, ()))

    def complete(incomplete: str) -> list[str]:
        return [name for name in names if name.startswith(incomplete)]

    fraction = {"parser": partial(parse_number, flag=option.flag), "metavar": "FLOAT"} if option.type is float else {}
    flag = typer.Option(
        spelling,
        help=" ".join(parts),
        show_default=False,
        rich_help_panel=panel,
        autocompletion=complete if names else None,
        **fraction,
    )
    annotation = Annotated[option.type | None, flag]
    return inspect.Parameter(option.name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)


def given(values: Mapping[str, object]) -> dict[str, object]:
    """The flags that the user set."""
    return {name: value for name, value in values.items() if value is not None}


def on_terminal() -> bool:
    """Whether stdout is a terminal with escape codes."""
    return sys.stdout.isatty() and os.environ.get("TERM") != "dumb"


def can_draw() -> bool:
    """Whether the dashboard can run: it reads keys from stdin and draws on stderr; stdout must not be redirected to a file."""
    return on_terminal() and sys.stdin.isatty() and sys.stderr.isatty()


def ascii_wanted(requested: bool) -> bool:
    """Whether the dashboard uses ASCII only: on request, or if the terminal's encoding is not UTF."""
    return requested or "utf" not in (sys.stderr.encoding or "").lower()


def parse_list(text: str, flag: str) -> list[str]:
    """Parse a comma-separated value. Raises UsageError if it is empty."""
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if not parts:
        raise UsageError(f"{flag}: give at least one value")
    return parts


def parse_constants(text: str) -> list[float]:
    """Parse the constants of --c. Raises UsageError unless all are above 0."""
    constants = _parse_numbers(text, "--c")
    for constant in constants:
        if not 0 < constant < float("inf"):
            raise UsageError(f"--c must be finite and above 0, got {constant:g}")
        ATTACK_OPTIONS["c"].check(constant)
    return constants


def parse_radii(text: str | None, norm: str = "linf") -> list[float] | None:
    """Parse --eps; None if it is not given. Raises UsageError unless the radii are finite and >= 0, and for linf <= 1."""
    if norm not in NORMS:
        raise UsageError(unknown("--norm", norm, NORMS))
    if text is None:
        if norm != "linf":
            raise UsageError(f"--norm {norm}: give --eps too, the usual radii are of the maximum norm")
        return None
    radii = _parse_numbers(text, "--eps")
    for radius in radii:
        if norm == "linf" and not 0 <= radius <= 1:
            raise UsageError(f"--eps must lie in [0, 1] (pixels are in [0, 1]), got {radius:g}")
        if not 0 <= radius < math.inf:
            raise UsageError(f"--eps must be finite and >= 0, got {radius:g}")
    return radii


def check_reach(radii: Iterable[float] | None, norm: str, data: str) -> None:
    """Raise UsageError for a radius larger than the largest distance between two images."""
    largest = math.prod(DATA[data].shape) ** 0.5 if norm == "l2" else 1.0
    for radius in radii or ():
        if radius > largest:
            raise UsageError(f"--eps {radius:g}: no two images of {data} are further apart than {largest:.4g} in {norm}")


def attack_options(
    names: Sequence[str], *, norm: str = "linf", custom: Mapping[str, object] | None = None, **flags: str | int | None
) -> dict[str, object]:
    """The attacks' options that are not the usual ones, from flags as the user wrote them; None is a flag that is not given.

    custom: of attacks of others, the values of their custom flags.
    Raises: UsageError for a value out of range, or a flag that none of the attacks takes.
    """
    values = {**(custom or {})}
    values |= {name: _attack_option(name, value) for name, value in flags.items() if value is not None}
    options = check_attack_options(names, {**({} if norm == "linf" else {"norm": norm}), **values})
    usual = {attack(name).loss for name in names if takes(name, "loss")}
    return {name: value for name, value in options.items() if name != "loss" or usual != {value}}


def parse_attacks(text: str, flag: str = "--attacks", sets: Mapping[str, Sequence[str]] | None = None) -> list[str]:
    """Parse a comma-separated list of attacks, also of others, each once. Raises UsageError for an unknown one.

    sets: names that stand for several attacks.
    """
    sets = sets or {}
    names = dict.fromkeys(one for name in parse_list(text, flag) for one in sets.get(name, (plugins.absolute(name),)))
    shown = Counter(map(plugins.short, names))
    for name in names:
        if shown[plugins.short(name)] > 1:
            raise UsageError(f"{flag}: there are two {plugins.short(name)}, which results could not tell apart: rename one file")
        if name not in ATTACKS and not plugins.is_foreign("attack", name):
            raise UsageError(unknown(flag, name, (*ATTACKS, *plugins.installed("attack"), *sets)))
        attack(name, flag)
    return list(names)


def _attack_option(name: str, value: str | int) -> object:
    option = ATTACK_OPTIONS.get(name)
    if option is None or option.type is not float or not isinstance(value, str):
        return value
    numbers = _parse_numbers(value, option.flag)
    if len(numbers) != 1:
        raise UsageError(f"{option.flag} takes one number, got {value}")
    return numbers[0]


def check_classes(name: str, data: str, flag: str) -> None:
    """Raise UsageError for an attack that needs more classes than the data set has."""
    needed, classes = attack(name).classes, DATA[data].classes
    if classes < needed:
        raise UsageError(f"{flag}: {name} needs {needed} classes, {data} has {classes}: take apgd-ce or mora")


def check_loss(loss: str | None, data: str) -> None:
    """Raise UsageError for a loss that needs more classes than the data set has."""
    classes = DATA[data].classes
    if loss == "dlr" and classes < DLR_CLASSES:
        raise UsageError(f"--loss: dlr needs {DLR_CLASSES} classes, {data} has {classes}: take ce or margin")


def check_saved(run: Run) -> None:
    """Raise RunError for a run without a checkpoint, before others are measured."""
    if not run.checkpoints():
        raise RunError(why_unsaved(run))


def _parse_numbers(text: str, flag: str) -> list[float]:
    return [parse_number(part, flag) for part in parse_list(text, flag)]


def say(text: str) -> None:
    """Print a line on stderr, in printable characters."""
    print(printable(text), file=sys.stderr)
