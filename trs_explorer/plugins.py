"""Code of others, named "package.module:object", "path/file.py:object", or by an installed package. It runs only if allowed.

`allow` is called with what the person who started the command has named; `load` refuses everything else.
"""

import contextlib
import functools
import importlib
import importlib.util
import inspect
import re
import sys
import sysconfig
import traceback
from functools import cache
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn

from trs_explorer.files import printable, sha256
from trs_explorer.options import UsageError, unknown

GROUP = "trs_explorer"  # of entry points. A name may begin with the kind that it is for: "attack.square"
KINDS = ("method", "model", "data", "attack")
MOST_MESSAGE = 600  # characters of an error: torch's about weights that do not fit have many lines
_PACKAGE = Path(__file__).resolve().parent
_STANDARD = Path(sysconfig.get_path("stdlib"))  # it may lie below the user's folder
_REFERENCE = re.compile(
    r"(?P<place>.+\.py|[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*):(?P<object>[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*)", re.DOTALL
)
_NO_NAME = re.compile(r"[^\w.]")
_objects: dict[str, Any] = {}  # of this process, by the name that `name_of` has given them
_allowed: set[str] = set()
_runs_allowed = False
_folders: set[Path] = set()  # of loaded code, for `where`


def is_reference(name: str) -> bool:
    """Whether a name has the form "package.module:object" or "path/file.py:object"."""
    return _REFERENCE.fullmatch(name) is not None


def absolute(name: str) -> str:
    """Return a reference with the absolute path of its file; other names as they are. Raises UsageError if that is no path."""
    match = _REFERENCE.fullmatch(name)
    if match is None or not match["place"].endswith(".py"):
        return name
    try:
        return f"{Path(match['place']).expanduser().resolve()}:{match['object']}"
    except (OSError, RuntimeError, ValueError) as error:
        raise UsageError(f"{name}: {error}") from error


def short(name: str) -> str:
    """Return a reference without the folders of its file: "square.py:square"; other names as they are."""
    return name.replace("\\", "/").rpartition("/")[2] if is_reference(name) else name


def stem(name: str) -> str:
    """Return the object's name of a reference, for names of folders; other names as they are."""
    return short(name).rpartition(":")[2]


def installed(kind: str) -> tuple[str, ...]:
    """Return the names that installed packages add for a kind of `KINDS`. None of their code runs."""
    names = (name for name, _ in _entry_points())
    return tuple(sorted({_without_kind(name) for name in names if name.partition(".")[0] in (kind, name)}))


def is_foreign(kind: str, name: str) -> bool:
    """Whether a name of a kind stands for code of others: a reference, or a name that an installed package adds."""
    return is_reference(name) or name in installed(kind)


def allow(kind: str, name: str) -> None:
    """Allow the code behind a name to run in this process, because the user has named it. Built-in names need no permission."""
    if is_foreign(kind, name) and not _is_gone(name):
        _allowed.add(_target(kind, name))


def name_of(kind: str, thing: Any) -> str:
    """Return the name "module:object" of a function or class of this process, and allow it to run for a kind of `KINDS`.

    In this process the name stands for the very object, until another one of the same name takes its place (a notebook's cell
    that is run again). Another process imports it by that name: it cannot find what a notebook, a script or another function
    has defined, and says so.
    """
    code = inspect.unwrap(thing.func if isinstance(thing, functools.partial) else thing)
    code = code if hasattr(code, "__qualname__") else type(code)
    path = code.__qualname__.replace("<locals>.", "").replace("<lambda>", "lambda_")
    name = f"{_NO_NAME.sub('_', code.__module__ or '__main__')}:{path}"
    _objects[name] = thing
    _add_file_of(thing)
    allow(kind, name)
    return name


def allow_runs(allowed: bool = True) -> None:
    """Allow whatever code the config of a run names that is opened from now on: what --allow-code means."""
    global _runs_allowed
    _runs_allowed = _runs_allowed or allowed


def runs_allowed() -> bool:
    """Whether `allow_runs` was called."""
    return _runs_allowed


def is_allowed(kind: str, name: str) -> bool:
    """Whether `load` would run the code behind a name."""
    return is_foreign(kind, name) and _target(kind, name) in _allowed


def load(kind: str, name: str, flag: str = "") -> Any:
    """Return the object behind a name, imported once.

    flag: by which the user named it, for messages.
    Raises: UsageError if it is not allowed, missing, or fails while it is imported; then with the line of its file.
    """
    target = _target(kind, name)
    if target not in _allowed:
        refuse(name)
    if target in _objects:
        return _objects[target]
    try:
        return _load(target)
    except _NotLoaded as error:
        by = "" if is_reference(name) else f"{name}, of an installed package, {target}: "
        raise UsageError(f"{flag or f'--{kind}'}: {by}{error}") from error.__cause__


class _NotLoaded(Exception):
    """What the user has named cannot be loaded; the message lacks the flag by which it was named."""


def source_digest(kind: str, name: str) -> str:
    """Return the SHA-256 of the file that holds the code behind a name, which has been loaded; "" if it has no file."""
    place = _target(kind, name).rpartition(":")[0]
    module = _module_of_file(Path(place)) if place.endswith(".py") else sys.modules.get(place)
    with contextlib.suppress(OSError, TypeError):
        return sha256(Path(getattr(module, "__file__", None) or ""))
    return ""


def _is_gone(name: str) -> bool:
    """Whether a name stands for what a notebook or a script of another process has defined (`name_of`)."""
    return name.startswith("__main__:") and name not in _objects


def refuse(name: str) -> NoReturn:
    """Raise the UsageError for code of others that may not run."""
    if _is_gone(name):
        place = f"mine.py:{stem(name)}"
        raise UsageError(
            f"{name} was defined in a notebook or a script of another process: put it in a file, and name it {place}"
        )
    how = "--allow-code (in Python allow_code=True)"
    raise UsageError(f"{short(name)} is code of others, which runs only with {how}: say that if you trust it")


def where(error: BaseException) -> str:
    """Say in one line where code of others has raised an error, "mine.py, line 7, in loss: ValueError: ..."; "" if elsewhere."""
    if isinstance(error, SyntaxError) and error.filename and _is_theirs(error.filename):
        return f"{error.filename}, line {error.lineno}: {type(error).__name__}: {error.msg}"
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if _is_theirs(frame.filename)]
    if not frames:
        return ""
    last = frames[-1]
    function = "" if last.name == "<module>" else f", in {last.name}"
    text = " ".join(str(error).split())[:MOST_MESSAGE] or "no message"
    return printable(f"{last.filename}, line {last.lineno}{function}: {type(error).__name__}: {text}")


@cache
def _entry_points() -> tuple[tuple[str, str], ...]:
    """Return name and target of every entry point of the group, sorted by name."""
    return tuple(sorted((point.name, point.value) for point in metadata.entry_points(group=GROUP)))


def _without_kind(name: str) -> str:
    kind, _, rest = name.partition(".")
    return rest if rest and kind in KINDS else name


def _target(kind: str, name: str) -> str:
    """Return the reference behind a name. Raises UsageError for a name that is none."""
    if is_reference(name):
        return absolute(name)
    points = dict(_entry_points())
    target = points.get(f"{kind}.{name}", points.get(name))
    if target is None:
        raise UsageError(unknown(f"--{kind}", name, installed(kind)))
    return target.partition("[")[0].strip()


@cache
def _load(target: str) -> Any:
    match = _REFERENCE.fullmatch(target)
    if match is None:
        raise _NotLoaded(f"{target}: a name of code is package.module:object or path/file.py:object")
    place, path = match["place"], match["object"].split(".")
    module = _module_of_file(Path(place)) if place.endswith(".py") else _module(place)
    value: Any = module
    for name in path:
        if not hasattr(value, name):
            raise _NotLoaded(unknown(place, name, _names_in(value) or ("nothing",)))
        value = getattr(value, name)
    _add_file_of(value)
    return value


def _add_file_of(thing: Any) -> None:
    """Count the file that defines a function or class as code of others, also where the user's file imports it from elsewhere."""
    code = inspect.unwrap(thing.func if isinstance(thing, functools.partial) else thing)
    if inspect.isfunction(code):
        _folders.add(Path(code.__code__.co_filename))  # of a notebook's cell it is no file
    elif inspect.isclass(code) and (file := getattr(sys.modules.get(code.__module__), "__file__", None)):
        _folders.add(Path(file))


def _names_in(container: object) -> tuple[str, ...]:
    """Return the functions and classes that a module defines itself."""
    module_name = getattr(container, "__name__", None)
    members = vars(container).items() if hasattr(container, "__dict__") else ()
    return tuple(
        name for name, one in members if callable(one) and getattr(one, "__module__", None) == module_name and name[0] != "_"
    )


@cache
def _module_of_file(path: Path) -> ModuleType:
    """Import a file as a module of its own. Files beside it can be imported by it, as in a script."""
    if not path.is_file():
        raise _NotLoaded(f"{path}: there is no such file")
    name = f"trs_custom_{path.stem}_{abs(hash(path)):x}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    _folders.add(path.parent)
    if str(path.parent) not in sys.path:
        sys.path.append(str(path.parent))  # at the end: a random.py there must not take the place of Python's
    sys.modules[name] = module  # dataclasses look there
    with _readable_errors(str(path)):
        spec.loader.exec_module(module)
    return module


@cache
def _module(name: str) -> ModuleType:
    """Import a module that is installed, or in the current folder."""
    if str(Path.cwd()) not in sys.path and importlib.util.find_spec(name.partition(".")[0]) is None:
        sys.path.append(str(Path.cwd()))
        importlib.invalidate_caches()
    try:
        top = importlib.util.find_spec(name.partition(".")[0])
    except ValueError:
        top = None
    if top is None:
        raise _NotLoaded(f"no module {name} is installed, or in this folder: install it, or name its file, path/file.py:object")
    if top.origin and Path(top.origin).is_absolute():
        _folders.add(Path(top.origin).parent if top.submodule_search_locations else Path(top.origin))
    with _readable_errors(name):
        return importlib.import_module(name)


@contextlib.contextmanager
def _readable_errors(place: str) -> Any:
    """Turn whatever an import raises, but Ctrl-C, into a UsageError with its line. What it prints goes to stderr."""
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # SystemExit too: a script that was not meant to be imported
        message = where(error) or f"{place}: {type(error).__name__}: {error}"
        raise _NotLoaded(message) from error


def _is_theirs(filename: str) -> bool:
    """Whether a file belongs to loaded code of others, and not to trs or to a library that lies in the same folder."""
    path = Path(filename)
    if path.is_relative_to(_PACKAGE):
        return False
    if path in _folders:
        return True
    below = [path.relative_to(folder).parts for folder in _folders if path.is_relative_to(folder)]
    return not path.is_relative_to(_STANDARD) and any("site-packages" not in parts for parts in below)
