"""Look up methods and models by name, also those of others, and add data of the user to the catalogue. No torch."""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

from trs_explorer import plugins
from trs_explorer.catalogue import DATA, METHODS, MODELS, PUBLISHED, STEP_CONTEXT, entry
from trs_explorer.catalogue_entries import Data, Entry, Method
from trs_explorer.options import UsageError
from trs_explorer.recipes import CIFAR_METHODS
from trs_explorer.sources import is_data_path

GREY_EPS, COLOUR_EPS = 0.1, 8 / 255  # of the probe, on data of the user
MAX_CLASSES = 1000
MAX_NAME = 200  # characters of a class name


def method(name: str, what: str = "--method") -> Method:
    """The method of that name, also one of others.

    One of others that may not run has no options, and `catalogue.load` refuses its function: a run's log can be shown still.
    Raises: UsageError for an unknown name, or code that cannot be loaded.
    """
    if name not in METHODS and plugins.is_foreign("method", name):
        return _custom_method(name, what) if plugins.is_allowed("method", name) else Method(name, "code of others")
    return entry(METHODS | dict.fromkeys(plugins.installed("method"), Method("", "")), what, name)


def model(name: str, what: str = "--model") -> Entry:
    """The model of that name, also one of others, as `method`."""
    if name.startswith(PUBLISHED):
        return Entry(name, "an architecture of published checkpoints, `models.layouts`")
    if name not in MODELS and plugins.is_foreign("model", name):
        allowed = plugins.is_allowed("model", name)
        return Entry(plugins.load("model", name, what) if allowed else name, "code of others")
    return entry(MODELS | dict.fromkeys(plugins.installed("model"), Entry("", "")), what, name)


def is_custom_data(place: str) -> bool:
    """Whether a value of --data names data of the user, by a path or as code, and no set of the catalogue."""
    return place not in DATA and (plugins.is_foreign("data", place) or is_data_path(place))


def _custom_method(name: str, what: str) -> Method:
    function = plugins.load("method", name, what)
    if not callable(function):
        kind = type(function).__name__
        raise UsageError(f"{what} {name}: a method is a function of an ensemble, images and labels, not a {kind}")
    return _declared_method(function, plugins.short(name))


@cache  # by the function: in a notebook, a name may stand for another one later
def _declared_method(function: Callable[..., Any], name: str) -> Method:
    from trs_explorer import signatures  # noqa: PLC0415 (.02 s that `trs --help` does not need)

    declared = signatures.declared_options(function, name, STEP_CONTEXT)
    return Method(function, signatures.summary(function), declared.defaults, custom_options=declared.options)


def custom_data(stem: str, fingerprint: Mapping[str, str], shape: tuple[int, ...], class_names: tuple[str, ...]) -> str:
    """Add a data set of the user to DATA. Returns its name there: the stem, and a digest of test split, shape and class names.

    So runs on the same data have the same name for it, wherever its files are, and no run can change what another one means.
    Raises: UsageError for a shape that is none of images, or class names that are not 2 to 1,000 different texts.
    """
    _check_custom_data(shape, class_names)
    digest = hashlib.sha256(json.dumps([str(fingerprint.get("test", "")), [*shape], [*class_names]]).encode()).hexdigest()
    name = f"{stem}-{digest[:8]}"
    if name not in DATA:
        colour = shape[0] > 1
        recipe = {"adv_eps": COLOUR_EPS, "delta": 0.03, "delta_start": 0.01} if colour else {}
        DATA[name] = Data(
            "trs_explorer.data.custom:custom_split",
            "data of your own",
            (shape[0], shape[1], shape[2]),
            len(class_names),
            recipe,
            eps_of(shape),
            CIFAR_METHODS if colour else {},
            class_names=class_names,
            custom=True,
        )
    return name


def eps_of(shape: Sequence[int]) -> float:
    """The usual radius in the maximum norm for images [channel, height, width] that are in no catalogue."""
    return COLOUR_EPS if shape[0] > 1 else GREY_EPS


def _check_custom_data(shape: tuple[int, ...], class_names: tuple[str, ...]) -> None:
    if len(shape) != 3 or not all(type(size) is int and 0 < size <= 1 << 14 for size in shape):
        raise UsageError(f"images have a shape of channels, height and width, got {[*shape]}")
    texts = all(isinstance(name, str) and 0 < len(name) <= MAX_NAME for name in class_names)
    if not 2 <= len(class_names) <= MAX_CLASSES or not texts or len(set(class_names)) < len(class_names):
        raise UsageError(f"a data set has 2 to {MAX_CLASSES:,} classes, with different names of up to {MAX_NAME} characters")
