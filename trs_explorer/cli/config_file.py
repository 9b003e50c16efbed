"""The TOML file of `--config`: settings and a method's options, and files that are named relative to the file's own folder."""

import re
import tomllib
from collections.abc import Collection
from pathlib import Path

from trs_explorer import plugins
from trs_explorer.catalogue import DATA
from trs_explorer.config import SETTINGS
from trs_explorer.options import HYPER_PARAMETERS, UsageError
from trs_explorer.sources import is_data_path

OPTIONS = "options"  # the table of a method's options, which may stand beside the settings just as well
CODE = re.compile(r"(?P<path>.+\.py)(?P<object>:.*)", re.DOTALL)


def values_from_toml(path: Path, overridden: Collection[str] = ()) -> dict[str, object]:
    """Read settings and a method's options from a TOML file, by name.

    A file or folder that a value names is looked for in the TOML file's folder, then in the working directory.
    overridden: names of settings that are given elsewhere: their values here are not read.
    Raises: UsageError if the file cannot be read or is not TOML, holds a table other than [options], a value out of range, or
        names a missing file.
    """
    source = f"--config {path}"
    return settings_of(read_toml(path, source), path, source, overridden)


def read_toml(path: Path, source: str) -> dict[str, object]:
    """The content of a TOML file. source: how messages name the file. Raises: UsageError if it cannot be read or is not TOML."""
    try:
        return tomllib.loads(path.read_bytes().decode("utf-8-sig"))
    except OSError as error:
        raise UsageError(f"{source}: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{source} is not TOML: {error}") from error


def settings_of(content: dict, path: Path, source: str, overridden: Collection[str] = ()) -> dict[str, object]:
    """The settings and options in a TOML file, or in a table of one. path: of the file. The rest: see `values_from_toml`."""
    content = dict(content)
    table = content.pop(OPTIONS, {})
    tables = [f"[{name}]" for name, value in content.items() if isinstance(value, dict)]
    if tables or not isinstance(table, dict):
        what = ", ".join(tables) or "options"
        raise UsageError(f"{source}: no table {what}: write settings at the top, a method's options there or in [options]")
    values: dict[str, object] = {}
    for key, value in (*content.items(), *table.items()):
        name = key.replace("-", "_")
        if name in values:
            raise UsageError(f"{source}: {key} is there twice, at the top and in [options] or as {name}: drop one")
        values[name] = value
    return {name: setting(name, value, path, source) for name, value in values.items() if name not in overridden}


def setting(name: str, value: object, path: Path, source: str) -> object:
    """A value as the setting's type, and with the path of the file that it names. Raises UsageError.

    Options of methods of others are checked when these are loaded.
    """
    value = _located(name, value, path, source)
    option = SETTINGS.get(name) or HYPER_PARAMETERS.get(name)
    try:
        return option.parse(value) if option else value
    except UsageError as error:
        raise UsageError(f"{source}: {error}") from error


def _located(name: str, value: object, config: Path, source: str) -> object:
    """The value, in which a relative path to a file is replaced by that of the file."""
    if not isinstance(value, str):
        return value
    code = CODE.fullmatch(value) if name in ("method", "model", "data", "data_dir") else None
    if code:
        return f"{_beside(config, name, code['path'], source)}{code['object']}"
    if name == "start_from":  # perhaps a shipped run's name
        beside = config.parent.resolve() / value
        return str(beside) if value and beside.is_dir() else value
    names_data = name == "data" and value not in DATA and (is_data_path(value) or (config.parent / value).is_dir())
    if value and (name == "data_dir" or (names_data and not plugins.is_foreign("data", value))):
        return _beside(config, name, value, source)
    return value


def _beside(config: Path, name: str, value: str, source: str) -> str:
    """Return a path in the TOML file's folder, else in the working directory. Raises UsageError with both if neither exists."""
    if value.startswith("~") or Path(value).is_absolute():
        return value
    here, beside = Path.cwd() / value, config.parent.resolve() / value
    if beside.exists():
        return str(beside)
    if here.exists() or here == beside:
        return value
    raise UsageError(f"{source}: {name} {value}: there is neither {beside} nor {here}")
