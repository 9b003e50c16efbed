"""The attacks that the pages offer: those of this project with a radius, and those of others with their own options.

An attack of others is called by a short name on pages and in addresses, without the folders of its file. Its options are held by
the state as the query of an address, "side=5&kind=plus": those that differ from their defaults.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import parse_qsl, urlencode

from dash import html

from trs_explorer import attack_catalogue, plugins
from trs_explorer.attack_catalogue import PATH_ATTACKS, Attack, is_custom
from trs_explorer.measure.session import attack_function
from trs_explorer.options import Option, UsageError, number, unknown
from trs_explorer.web.code_errors import readable_code_errors
from trs_explorer.web.markup import Field

MAX_OPTIONS = 2000  # characters of all options
SHARED = ("norm",)  # options that the page's own controls set
TRUE, FALSE = ("true", "1", "yes", "on"), ("false", "0", "no", "off")

_named: dict[str, str] = {}  # the attacks of --attacks: name on the pages to name in the catalogue


def offer(names: Sequence[str]) -> None:
    """Offer attacks of others that the user has named, which allows them to run, instead of those that were offered before.

    Raises: UsageError for an unknown attack, one without a radius or a path, or code that fails.
    """
    _named.clear()
    for name in dict.fromkeys(map(plugins.absolute, names)):
        if name in PATH_ATTACKS:
            continue  # is offered anyway
        plugins.allow("attack", name)
        one = attack_catalogue.attack(name)
        if not (one.has_radius and one.has_path):
            raise UsageError(
                f"--attacks {name}: the explorer draws the paths of attacks with a radius: {', '.join(PATH_ATTACKS)}, or yours"
            )
        shown, count = plugins.short(name), 1
        while shown in _named:
            count += 1
            shown = f"{plugins.short(name)} ({count})"
        _named[shown] = name


def names() -> tuple[str, ...]:
    """Return the names of all attacks that the pages offer. Those of installed packages are listed without running them."""
    return tuple(dict.fromkeys((*PATH_ATTACKS, *_named, *plugins.installed("attack"))))


def about(name: str) -> Attack:
    """Return an attack's entry. Raises UsageError for an unknown one, or code that may not run or fails."""
    if name not in names():
        raise UsageError(unknown("attack", name[:80], names()))
    if name not in _named and is_custom(name) and plugins.runs_allowed():
        plugins.allow("attack", name)
    return attack_catalogue.attack(_named.get(name, name), "attack")


def takes(name: str, option: str) -> bool:
    """Whether an attack has an option that one of the page's own controls sets: of attacks of others, the norm alone."""
    try:
        return option in about(name).options and (option in SHARED or not is_custom(name))
    except UsageError:
        return False


def options(name: str) -> dict[str, Option]:
    """Return the options of an attack of others besides those that the page has a control for; none of other attacks."""
    return {key: option for key, option in about(name).custom_options.items() if key not in SHARED} if is_custom(name) else {}


def function(name: str) -> Callable[..., Any]:
    """Return an attack's function. If one of others fails, it raises a UsageError that says in which line of its file."""
    made = attack_function(_named.get(name, name)) if about(name) else None
    assert made is not None
    return readable_code_errors(made) if is_custom(name) else made


def parse_options(name: str, text: str) -> tuple[dict[str, Any], list[str]]:
    """Return the values of an attack's own options that a state holds, and a sentence for each that cannot be used."""
    declared, values, warnings = options(name), {}, []
    for key, raw in parse_qsl(text[:MAX_OPTIONS], keep_blank_values=True):
        if key not in declared:
            warnings.append(f"{name} has no option {key[:40]}; its options: {', '.join(declared) or 'none'}")
            continue
        try:
            values[key] = _value(declared[key], raw)
        except UsageError as error:
            warnings.append(str(error).replace(declared[key].flag, key))
    return values, warnings


def all_options(name: str, text: str) -> dict[str, Any]:
    """Return the values of all options of an attack of others besides `SHARED`: the state's, else the defaults."""
    declared = options(name)
    return {key: about(name).defaults[key] for key in declared} | parse_options(name, text)[0]


def written(name: str, values: Mapping[str, Any]) -> str:
    """Return option values as a state holds them: those that differ from their defaults, in the order of the declaration."""
    defaults = about(name).defaults
    return urlencode({key: _text(values[key]) for key in options(name) if key in values and values[key] != defaults[key]})


def _value(option: Option, raw: str) -> Any:
    if option.type is bool:
        if raw.lower() not in TRUE + FALSE:
            raise UsageError(f"{option.flag} takes true or false, got {raw[:40]!r}")
        return raw.lower() in TRUE
    if option.type is str:
        return option.check(raw)
    try:
        value = number(raw)
        return option.check(int(value) if option.type is int and value == int(value) else value)
    except UsageError:
        raise
    except (ValueError, OverflowError):
        raise UsageError(f"{option.flag} takes a number, got {raw[:40]!r}") from None


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def form(name: str, text: str) -> list[html.Label]:
    """Build the controls of an attack's own options, as the state has them. What is typed there: shared.mjs."""
    try:
        values = all_options(name, text)
        return [_control(option, values[key]) for key, option in options(name).items()]
    except UsageError:  # the state's callback says why
        return []


def _control(option: Option, value: Any) -> html.Label:
    marks = {"data-option": option.name, "id": f"custom-{option.name}"}
    help_text = option.help + (f" [{option.range_text}]" if option.range_text else "")
    field: object
    if option.type is bool or option.choices:
        choices = option.choices or ("true", "false")
        chosen = [html.Option(one, value=one, **({"selected": True} if one == _text(value) else {})) for one in choices]
        field = html.Select(chosen, **marks)
    elif option.type is str:
        field = Field(type="text", value=value, maxlength=200, **marks)
    else:
        step = 1 if option.type is int else "any"
        low = None if option.above_low and option.type is int else option.low
        field = Field(type="number", value=_text(value), min=low, max=option.high, step=step, **marks)
    return html.Label([option.name.replace("_", " "), field], htmlFor=f"custom-{option.name}", title=help_text)
