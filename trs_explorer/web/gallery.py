"""The pick room: images of the test set as buttons, and pictures of one's own."""

import base64
import binascii
from collections.abc import Callable

import torch
from dash import html

from trs_explorer.catalogue import DATA
from trs_explorer.explore.gallery import answers, pick
from trs_explorer.explore.library import Loaded
from trs_explorer.explore.pictures import data_uri, png, read_picture
from trs_explorer.options import UsageError
from trs_explorer.web.layout import MEASURED, setting
from trs_explorer.web.matrix import Measured
from trs_explorer.web.state import State, is_plane

OFFERED, JUDGED, KEPT = 60, 1000, 64

_known: dict[tuple, torch.Tensor] = {}  # answers by weights, the newest KEPT


def offer(loaded: Loaded, state: State, measured: Callable[[], object]) -> tuple[list, str]:
    """Buttons for the images that the filter lets through, and in words how many there are.

    measured: gives the matrix, as far as it is, to the filters that need it.
    """
    count = min(JUDGED, len(loaded.data))
    found = measured() if state.filter in MEASURED else None
    known = found if isinstance(found, Measured) else None
    try:
        indices, words = pick(
            state.filter,
            loaded.data.y[:count],
            label=None if state.label < 0 else state.label,
            answers=_answers(loaded, count) if state.filter in ("disagree", "wrong") else None,
            matrix=known.matrix if known else None,
            surrogate=min(state.surrogate, len(loaded.ensemble) - 1),
            target=state.target,
            robust=known.robust if known else None,
        )
    except UsageError as error:
        return [], str(error)
    more = f" (the first {OFFERED} shown)" if len(indices) > OFFERED else ""
    return _buttons(loaded, indices[:OFFERED]), words + more


def _buttons(loaded: Loaded, indices: list[int]) -> list[html.Button]:
    buttons = []
    for k in indices:
        y = int(loaded.data.y[k])
        x = loaded.data.images(torch.tensor([k]))[0]
        if is_plane(loaded.data.name):
            a, b = x.flatten().tolist()
            inside, words = f"{k}: {y}", f"point {k}, class {y}, at ({a:.2f}, {b:.2f})"
        else:
            words = f"image {k}, class {y}"
            inside = html.Img(src=data_uri(png(x)), alt="")
        buttons.append(html.Button(
            inside, title=words,
            **{"aria-label": words, "data-image": str(k), "aria-pressed": "false"}, **setting(image=k, own="", start=""),
        ))  # fmt: skip
    return buttons


def _answers(loaded: Loaded, count: int) -> torch.Tensor:
    key = loaded.digest, loaded.data.name, loaded.data.fingerprint, count
    if key not in _known:
        while len(_known) >= KEPT:
            _known.pop(next(iter(_known)), None)
        _known[key] = answers(loaded.ensemble, loaded.data.images(slice(0, count)))
    return _known[key]


def own_picture(contents: str, data: str) -> tuple[str, str]:
    """A dropped file (a data URI) as the state keeps pictures, base64url of its bytes; and what was done to it.

    Raises UsageError for a file that is no picture, or a data set without pictures.
    """
    if is_plane(data):
        raise UsageError(f"{data} is a set of points in the plane: click into it instead")
    try:
        raw = base64.b64decode(contents.partition(",")[2], validate=True)
    except (binascii.Error, ValueError) as error:
        raise UsageError("the file did not arrive whole: try again") from error
    picture, words = read_picture(raw, DATA[data].shape)
    pixels = (picture * 255).round().to(torch.uint8).numpy().tobytes()
    return base64.urlsafe_b64encode(pixels).decode(), words
