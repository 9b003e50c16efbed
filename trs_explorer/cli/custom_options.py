"""Commands whose flags grow: the hyper-parameters of a method or an attack of others become flags once the command names it."""

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar

import typer
from typer.core import TyperCommand

from trs_explorer import attack_catalogue, lookup, plugins
from trs_explorer.cli.config_file import values_from_toml
from trs_explorer.cli.flags import option_flag
from trs_explorer.options import Option, UsageError

ADDED, VALUES = "trs_explorer.added", "trs_explorer.values"  # in a context's meta: the added flags, and what the user gave them


class CustomOptionsCommand(TyperCommand):
    """A command that takes names of code of others, which the user allows to run by naming it.

    kinds: the flags that take such names, and the kind of `plugins.KINDS` that each is for. They may hold several with commas.
    """

    kinds: ClassVar[Mapping[str, str]] = {}

    def parse_args(self, ctx: typer.Context, args: list[str]) -> list[str]:
        """Add the flags of what the command line names, then parse it."""
        added = ctx.meta[ADDED] = {}
        for kind, name in _named(self.kinds, args):
            plugins.allow(kind, name)
            for option, default in _options(kind, name):
                if option.name in added:
                    continue
                existing = next((one for one in self.params if one.name == option.name), None)
                if existing is not None and kind == "attack" and option.name not in attack_catalogue.ATTACK_OPTIONS:
                    remedy = f"its parameter {option.name} has the name of a flag of trs: rename it"
                    raise UsageError(f"{plugins.short(name)}: {remedy}")
                if existing is None:
                    added[option.name] = _parameter(option, default, plugins.short(name))
        rest = super().parse_args(ctx, args)
        ctx.meta[VALUES] = {name: value for name in added if (value := ctx.params.pop(name)) is not None}
        return rest

    def get_params(self, ctx: typer.Context) -> list[Any]:
        """Return the command's parameters, the added ones first."""
        return [*ctx.meta.get(ADDED, {}).values(), *super().get_params(ctx)]


def with_names(**kinds: str) -> type[CustomOptionsCommand]:
    """Return the class of a command with these flags and their kinds, such as attacks="attack" for --attacks."""
    flags = {"--" + flag.replace("_", "-"): kind for flag, kind in kinds.items()}
    return type("CustomOptionsCommand", (CustomOptionsCommand,), {"kinds": flags})


def custom_values(context: typer.Context) -> dict[str, Any]:
    """Return the values of the added flags that the user has set, by name."""
    values: dict[str, Any] = context.meta.get(VALUES, {})
    return values


def custom_attack_options(context: typer.Context, names: Sequence[str]) -> dict[str, Any]:
    """Return the options of a command's attacks of others: their own flags, and --steps and --restarts if the user has set them.

    Without these flags such an attack takes as many steps as it does by default, not as many as the attacks of this project.
    """
    custom = [name for name in names if attack_catalogue.is_custom(name)]
    shared = [flag for flag in ("steps", "restarts") if any(attack_catalogue.takes(name, flag) for name in custom)]
    return custom_values(context) | {flag: context.params[flag] for flag in shared if _was_given(context, flag)}


def _was_given(context: typer.Context, name: str) -> bool:
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def _named(kinds: Mapping[str, str], args: list[str]) -> Iterator[tuple[str, str]]:
    """Yield kind and name of all code of others on a command line, and in the TOML file of --config."""
    flags = [argument.partition("=")[0].removeprefix("--").replace("-", "_") for argument in args if argument.startswith("--")]
    for position, argument in enumerate(args):
        flag, equals, value = argument.partition("=")
        if not equals:
            value = args[position + 1] if position + 1 < len(args) else ""
        values = {flag: value}
        if flag == "--config":
            with suppress(UsageError):  # said when the command reads it
                values = {f"--{key}": str(one) for key, one in values_from_toml(Path(value), flags).items()}
        for key, named in values.items():
            for name in named.split(",") if key in kinds else ():
                if plugins.is_foreign(kinds[key], name.strip()):
                    yield kinds[key], name.strip()


def _options(kind: str, name: str) -> list[tuple[Option, object]]:
    """Return what becomes a flag, with its default."""
    if kind == "method":
        method = lookup.method(plugins.absolute(name))
        return [(option, method.defaults[key]) for key, option in method.options.items()]
    if kind == "attack":
        attack = attack_catalogue.attack(plugins.absolute(name))
        return [(option, attack.defaults[key]) for key, option in attack.custom_options.items()]
    return []


def _parameter(option: Option, default: object, owner: str) -> Any:
    """Return a flag as typer's own parsing takes it: that of a command that has it alone."""

    def command(**values: object) -> None:
        del values

    parameter = option_flag(option, f"Options of {owner}", default)
    command.__signature__ = inspect.Signature([parameter])  # type: ignore[attr-defined]
    command.__annotations__ = {parameter.name: parameter.annotation}
    app = typer.Typer(add_completion=False)
    app.command()(command)
    made: Callable[..., Any] = typer.main.get_command(app)
    return next(one for one in made.params if one.name == option.name)  # type: ignore[attr-defined]
