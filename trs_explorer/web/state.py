"""The page's state, as the URL holds it: parse the browser's strings into a complete and valid `State`."""

import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace

from trs_explorer.attack_catalogue import LOSSES, NORMS
from trs_explorer.catalogue import DATA
from trs_explorer.explore.gallery import FILTERS
from trs_explorer.explore.run_names import FOLDER
from trs_explorer.figures.layers import LAYERS
from trs_explorer.options import Option, UsageError
from trs_explorer.web import custom_attacks, uploads

PLANES = {
    "gradients": "gradient x gradient",
    "random": "gradient x random",
    "images": "through three images",
}
THEMES = ("auto", "light", "dark")
SIZES = (64, 128, 256, 512, 1000)
MAX_STEPS, MAX_RESTARTS = 200, 20
MOST_PANELS = 8  # of models that are shown at first; the others can be shown
NONE_HIDDEN = "none"  # in the place of the numbers of hidden models, where some would be hidden by default

# Every number with its range, for the page's form and for checking requests.
NUMBERS = {
    option.name: option
    for option in (
        Option("image", int, "which test image", 0),
        Option("second", int, "the plane's second image", 0),
        Option("third", int, "the plane's third image", 0),
        Option("seed", int, "decides the random direction and the attack's noise", 0, 2**31 - 1),
        Option("span", float, "half the side of the square, L2 distance (each pixel in [0, 1])", 0.01, 100),
        Option("swap", int, "exchange the axes", 0, 1),
        Option("eps", float, "radius of the attack in [0, 1] pixels", 0, 10),
        Option("steps", int, "steps of the attack", 1, MAX_STEPS),
        Option("step_size", float, "length of a step, in [0, 1] pixels; 0: chosen by eps and steps", 0, 10),
        Option("restarts", int, "random starts of an attack that has them", 1, MAX_RESTARTS),
        Option("present", int, "presentation: the slices and the matrix alone, in large type", 0, 1),
        Option("bounds", int, "measure the paper's bounds on transfer", 0, 1),
        Option("n", int, "how many test images the matrix tries", 1, 1000),
    )
}
CHOICES = {"plane": tuple(PLANES), "layer": tuple(LAYERS), "norm": NORMS,
         "loss": ("default", *LOSSES), "filter": tuple(FILTERS), "theme": THEMES}  # fmt: skip

# The fields that a slice depends on, and those that its attack paths depend on in addition.
SLICE_FIELDS = ("run", "at", "image", "own", "plane", "surrogate", "target", "second", "third", "seed", "span", "swap")
ATTACK_OPTION_FIELDS = ("loss", "steps", "step_size", "restarts", "options")
ATTACK_FIELDS = ("eps", "norm", "attack", *ATTACK_OPTION_FIELDS, "start")


@dataclass(frozen=True)
class State:
    """Everything that a link must restore. Models are numbered: members from 0, then the ensemble.

    NUMBERS describes the numeric fields, CHOICES the values of the others. The rest:
    run: the run's name.
    at: the checkpoint's name; empty: the newest.
    weights: the first digits of the weights' SHA-256 when the link was made.
    own: an uploaded picture's bytes in base64url, used instead of `image`.
    surrogate, target: the numbers of two models.
    hide: the numbers of hidden models, such as "0,2"; "none" where some would be hidden by default.
    start: where attacks start, "a,b" in plane coordinates; empty: at the image.
    label: show only images of this class; -1: all.
    attack: one of `custom_attacks.names`.
    options: of an attack of others, "side=5&kind=plus": see `custom_attacks`.
    loss: what the attack maximises, if it has a choice; "default": its usual loss.
    """

    run: str
    at: str = ""
    weights: str = ""
    image: int = 8
    own: str = ""
    plane: str = "gradients"
    surrogate: int = 0
    target: int = 1
    second: int = 1
    third: int = 2
    seed: int = 0
    span: float = 5.0
    swap: int = 0
    layer: str = "class"
    hide: str = ""
    eps: float = 0.3
    norm: str = "linf"
    attack: str = "pgd"
    loss: str = "default"
    steps: int = 10
    step_size: float = 0.0
    restarts: int = 1
    options: str = ""
    n: int = 256
    start: str = ""
    filter: str = "all"
    label: int = -1
    theme: str = "auto"
    present: int = 0
    bounds: int = 0

    def point(self) -> tuple[float, float] | None:
        """Return where attacks start, in plane coordinates; None: at the image."""
        return _numbers(self.start, 2) if self.start else None  # type: ignore[return-value]

    def hidden(self) -> list[int]:
        """Return the numbers of the hidden models."""
        return [int(k) for k in self.hide.split(",") if k.isdecimal()]

    def to_json(self) -> dict[str, str | int | float]:
        """Return the fields as the browser stores them."""
        return asdict(self)


def defaults(run: str, data: str) -> State:
    """Return the initial state: for MNIST, an image at which the boundaries of the shipped TRS members differ visibly."""
    state = State(run, eps=DATA[data].probe_eps)
    if is_plane(data):
        return replace(state, plane="random", span=1.0)
    return state


def default_eps(data: str, norm: str) -> float:
    """Return a radius to start from (`catalogue.Data.usual_eps`)."""
    return DATA[data].usual_eps(norm)


def is_plane(data: str) -> bool:
    """Whether a data set's examples are points in the plane, which is then the only slice there is."""
    return math.prod(DATA[data].shape) == 2


def parse_state(fields: Mapping[str, object], *, run: str, data: str, members: int, images: int) -> tuple[State, list[str]]:
    """Return the valid state nearest to a request's fields, and a warning for each field that could not be used.

    Never raises: links may be old, or typed by hand.

    fields: the request's fields, as strings or JSON values.
    run, data: the names of the run and its data set.
    members, images: how many there are.
    """
    state, warnings = defaults(run, data), []

    def set_field(name: str, value: object) -> None:
        nonlocal state
        state = replace(state, **{name: value})

    for name, option in NUMBERS.items():
        if (raw := fields.get(name)) not in (None, ""):
            try:
                set_field(name, option.check(_number(raw, option.type)))
            except (UsageError, ValueError, OverflowError) as error:
                reason = str(error) if isinstance(error, UsageError) else f"{option.flag} takes a number, got {str(raw)[:40]!r}"
                warnings.append(reason.replace(option.flag, name))
    for name, choices in CHOICES.items():
        if (raw := fields.get(name)) in choices:
            set_field(name, raw)
        elif raw not in (None, ""):
            warnings.append(f"{name} must be one of {', '.join(choices)}, got {str(raw)[:40]!r}")
    state, said = _with_attack(state, fields)
    warnings += said
    if state.norm != "linf" and not custom_attacks.takes(state.attack, "norm"):
        warnings.append(f"{state.attack} searches the max norm only")
        state = replace(state, norm="linf", eps=default_eps(data, "linf"))
    elif fields.get("eps") in (None, ""):
        state = replace(state, eps=default_eps(data, state.norm))
    for name in ("image", "second", "third"):
        if getattr(state, name) >= images:
            if fields.get(name) not in (None, ""):
                warnings.append(f"{name} {getattr(state, name)}: there are {images} test images, from 0")
            set_field(name, min(getattr(State, name), images - 1))
    for name, most in (("surrogate", members), ("target", members), ("label", DATA[data].classes - 1)):
        raw = fields.get(name)
        if raw not in (None, ""):
            value = _whole(raw)
            if value is not None and (-1 if name == "label" else 0) <= value <= most:
                set_field(name, value)
            else:
                warnings.append(f"{name}: there is no {name} {str(raw)[:20]}")
    start = str(fields.get("start") or "")
    if start and _numbers(start, 2) is None:
        warnings.append(f"start takes two numbers, such as 1.5,-2, got {start[:40]!r}")
        start = ""
    hide = str(fields.get("hide") or "")
    hidden = sorted({k for k in map(_whole, hide.split(",")) if k is not None and 0 <= k <= members})
    if members >= MOST_PANELS and not hide:
        hidden = hidden_at_first(members)
    upload = str(fields.get("own") or "")
    if upload and (is_plane(data) or uploads.pixels(upload, math.prod(DATA[data].shape)) is None):
        gone = uploads.is_kept_here(upload)
        warnings.append(f"own: the picture in the link {'is not here any more' if gone else 'does not fit this data set'}")
        upload = ""
    at, weights = str(fields.get("at") or ""), str(fields.get("weights") or "")
    state = replace(
        state,
        at=at if re.fullmatch(r"[0-9-]{0,24}", at) else "",
        weights=weights if re.fullmatch(r"[0-9a-f]{0,64}", weights) else "",
        start=start,
        hide=_hide(hidden, members),
        own=upload,
    )
    if is_plane(data):
        state = replace(state, plane="random", own="")
    return state, warnings


def hidden_at_first(members: int) -> list[int]:
    """Return the models without a panel until the user shows them: of many, the first members and the ensemble have one."""
    return list(range(MOST_PANELS - 1, members)) if members >= MOST_PANELS else []


def _hide(hidden: list[int], members: int) -> str:
    """Return the field for some hidden models; all of them cannot be hidden."""
    some = hidden and len(hidden) <= members
    return ",".join(map(str, hidden)) if some else NONE_HIDDEN if members >= MOST_PANELS else ""


def _with_attack(state: State, fields: Mapping[str, object]) -> tuple[State, list[str]]:
    """Return the state with a request's attack and its own options, as far as they can be used, and why not."""
    name, text = str(fields.get("attack") or state.attack), str(fields.get("options") or "")
    try:
        values, warnings = custom_attacks.parse_options(name, text)
        return replace(state, attack=name, options=custom_attacks.written(name, values)), warnings
    except UsageError as error:
        return state, [f"{FOLDER.sub('', str(error))} (showing {state.attack})"]


def _number(raw: object, kind: type) -> int | float:
    value = float(str(raw))
    if kind is int and value == int(value):
        return int(value)
    return value


def _whole(raw: object) -> int | None:
    try:
        return int(str(raw))
    except ValueError:
        return None


def _numbers(text: str, count: int) -> tuple[float, ...] | None:
    """Parse `count` finite numbers of reasonable size, separated by commas; None if that is not what the text holds."""
    try:
        values = tuple(float(part) for part in text.split(","))
    except ValueError:
        return None
    return values if len(values) == count and all(math.isfinite(v) and abs(v) <= 1000 for v in values) else None
