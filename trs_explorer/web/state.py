"""What is on the screen, as the URL has it: a dictionary of strings from the browser, made whole and valid here."""

import base64
import binascii
import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace

from trs_explorer.attack_catalogue import RADIUS_ATTACKS
from trs_explorer.catalogue import DATA
from trs_explorer.explore.gallery import FILTERS
from trs_explorer.options import Option, UsageError

LAYERS = {
    "class": "class",
    "margin": "margin of the true class",
    "confidence": "confidence",
    "disagreement": "members that differ",
    "arrows": "class, with gradient arrows",
}
PLANES = {
    "gradients": "gradient x gradient",
    "random": "gradient x random",
    "images": "through three images",
}
THEMES = ("auto", "light", "dark")
SIZES = (64, 128, 256, 512, 1000)
MOST_STEPS = 200

# Every number once, with its range; the page's form and every request are held to it.
NUMBERS = {
    option.name: option
    for option in (
        Option("image", int, "which test image", 0),
        Option("second", int, "the plane's second image", 0),
        Option("third", int, "the plane's third image", 0),
        Option("seed", int, "decides the random direction and the attack's noise", 0, 2**31 - 1),
        Option("span", float, "half the side of the square, L2 distance in pixels", 0.01, 100),
        Option("swap", int, "exchange the axes", 0, 1),
        Option("eps", float, "radius of the attack in [0, 1] pixels", 0, 10),
        Option("steps", int, "steps of the attack", 1, MOST_STEPS),
        Option("n", int, "how many test images the matrix tries", 1, 1000),
    )
}
WORDS = {"plane": tuple(PLANES), "layer": tuple(LAYERS), "norm": ("linf", "l2"), "attack": RADIUS_ATTACKS,
         "filter": tuple(FILTERS), "theme": THEMES}  # fmt: skip

# Which fields a scene depends on, and which the attacks in it besides.
SCENE = ("run", "at", "image", "own", "plane", "surrogate", "target", "second", "third", "seed", "span", "swap")
WALKS = ("eps", "norm", "attack", "steps", "start")


@dataclass(frozen=True)
class State:
    """Everything that a link must bring back. Models are numbered: members from 0, then the ensemble.

    at: a checkpoint's name, empty for the newest.  own: an own picture's bytes in base64url, in place of `image`.
    start: where an attack starts, "a,b" in the plane; empty: at the image.  hide: models not shown, "0,2".
    weights: the beginning of the weights' SHA-256 when the link was made.  label: only images of this class; -1 all.
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
    steps: int = 10
    n: int = 256
    start: str = ""
    filter: str = "all"
    label: int = -1
    theme: str = "auto"

    def point(self) -> tuple[float, float] | None:
        """Where the attack starts in the plane; None at the image itself."""
        return _numbers(self.start, 2) if self.start else None  # type: ignore[return-value]

    def hidden(self) -> list[int]:
        """The models that are not shown."""
        return [int(k) for k in self.hide.split(",") if k]

    def to_json(self) -> dict[str, str | int | float]:
        """The fields, as the browser keeps them."""
        return asdict(self)


def defaults(run: str, data: str) -> State:
    """What the page opens on: an image of MNIST at which the shipped TRS members' boundaries can be told apart at a glance."""
    about = DATA[data]
    state = State(run, eps=about.probe_eps)
    if is_plane(data):
        return replace(state, plane="random", span=1.0)
    return state


def is_plane(data: str) -> bool:
    """Whether a data set's examples are points of the plane, which is then the only slice there is."""
    return math.prod(DATA[data].shape) == 2


def read(wish: Mapping[str, object], *, run: str, data: str, members: int, images: int) -> tuple[State, list[str]]:
    """The state that comes nearest to a wish, and what could not be had, in words. Never raises: links may be old or typed.

    run, data, members, images: what the wish will be shown on.
    """
    state, complaints = defaults(run, data), []

    def take(name: str, value: object) -> None:
        nonlocal state
        state = replace(state, **{name: value})

    for name, option in NUMBERS.items():
        if (raw := wish.get(name)) not in (None, ""):
            try:
                take(name, option.check(_number(raw, option.type)))
            except (UsageError, ValueError, OverflowError) as error:
                why = str(error) if isinstance(error, UsageError) else f"{option.flag} takes a number, got {str(raw)[:40]!r}"
                complaints.append(why.replace(option.flag, name))
    for name, choices in WORDS.items():
        if (raw := wish.get(name)) in choices:
            take(name, raw)
        elif raw not in (None, ""):
            complaints.append(f"{name} is one of {', '.join(choices)}, not {str(raw)[:40]!r}")
    for name in ("image", "second", "third"):
        if getattr(state, name) >= images:
            if wish.get(name) not in (None, ""):
                complaints.append(f"{name} {getattr(state, name)}: there are {images} test images, from 0")
            take(name, min(getattr(State, name), images - 1))
    for name, most in (("surrogate", members), ("target", members), ("label", DATA[data].classes - 1)):
        raw = wish.get(name)
        if raw not in (None, ""):
            value = _whole(raw)
            if value is not None and (-1 if name == "label" else 0) <= value <= most:
                take(name, value)
            else:
                complaints.append(f"{name}: there is no number {str(raw)[:20]}")
    start = str(wish.get("start") or "")
    if start and _numbers(start, 2) is None:
        complaints.append(f"start takes two numbers, such as 1.5,-2, got {start[:40]!r}")
        start = ""
    hidden = sorted({k for k in map(_whole, str(wish.get("hide") or "").split(",")) if k is not None and 0 <= k <= members})
    own = str(wish.get("own") or "")
    if own and (is_plane(data) or own_pixels(own, math.prod(DATA[data].shape)) is None):
        complaints.append("own: the picture in the link is not one for this data set")
        own = ""
    at, weights = str(wish.get("at") or ""), str(wish.get("weights") or "")
    state = replace(
        state,
        at=at if re.fullmatch(r"[0-9-]{0,24}", at) else "",
        weights=weights if re.fullmatch(r"[0-9a-f]{0,64}", weights) else "",
        start=start,
        hide=",".join(map(str, hidden)) if len(hidden) <= members else "",
        own=own,
    )
    if is_plane(data):
        state = replace(state, plane="random", own="")
    return state, complaints


def own_pixels(own: str, count: int) -> bytes | None:
    """The bytes of an own picture, one a pixel and channel; None if there are not `count`."""
    try:
        pixels = base64.b64decode(own.encode("ascii"), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        return None
    return pixels if len(pixels) == count else None


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
    """That many finite numbers of reasonable size, separated by commas."""
    try:
        values = tuple(float(part) for part in text.split(","))
    except ValueError:
        return None
    return values if len(values) == count and all(math.isfinite(v) and abs(v) <= 1000 for v in values) else None
