"""The "Pick" part of the page: test images as buttons, and uploaded pictures."""

import base64
import binascii
from collections.abc import Callable

import torch
from dash import html

from trs_explorer.catalogue import DATA
from trs_explorer.class_labels import IN_SENTENCE, class_label, whole_label
from trs_explorer.explore.gallery import pick, predictions
from trs_explorer.explore.library import Loaded
from trs_explorer.explore.pictures import data_uri, read_picture, thumbnail
from trs_explorer.options import UsageError
from trs_explorer.web import uploads
from trs_explorer.web.code_errors import readable_code_errors
from trs_explorer.web.controls import sets
from trs_explorer.web.matrix import PartialMatrix
from trs_explorer.web.slice_view import chosen_image
from trs_explorer.web.state import State, is_plane

MATRIX_FILTERS = ("transfers", "robust")  # that need the matrix
SHOWN_IMAGES, FILTERED_IMAGES, CACHED = 60, 1000, 64
THUMBNAIL_PX = 92  # of the longer side: twice as many as a button has

_predictions: dict[tuple, torch.Tensor] = {}  # by weights and data; the newest CACHED


@readable_code_errors
def filtered_images(loaded: Loaded, state: State, measured_matrix: Callable[[], object]) -> tuple[list[int], str]:
    """Return the numbers of the first test images that pass the filter, and a sentence with their count.

    measured_matrix: called by filters that need the matrix; returns it as far as it is measured.
    """
    count = min(FILTERED_IMAGES, len(loaded.data))
    value = measured_matrix() if state.filter in MATRIX_FILTERS else None
    partial = value if isinstance(value, PartialMatrix) else None
    try:
        indices, sentence = pick(
            state.filter,
            loaded.data.y[:count],
            label=None if state.label < 0 else state.label,
            predicted=_cached_predictions(loaded, count) if state.filter in ("disagree", "wrong") else None,
            matrix=partial.matrix if partial else None,
            surrogate=min(state.surrogate, len(loaded.ensemble) - 1),
            target=state.target,
            robust=partial.robust if partial else None,
            noun=DATA[loaded.data.name].examples,
            class_name=class_label(DATA[loaded.data.name].class_names, state.label, IN_SENTENCE) if state.label >= 0 else "",
        )
    except UsageError as error:
        return [], str(error)
    more = f" (the first {SHOWN_IMAGES} shown)" if len(indices) > SHOWN_IMAGES else ""
    return indices[:SHOWN_IMAGES], sentence + more


def picked_sentence(loaded: Loaded, state: State) -> str:
    """Say which image the slices show."""
    names = DATA[loaded.data.name].class_names
    if state.own:
        predicted = class_label(names, chosen_image(loaded, state)[1], IN_SENTENCE)
        return f"uploaded picture, class {predicted} by the ensemble's prediction"
    name = class_label(names, int(loaded.data.y[state.image]), IN_SENTENCE)
    return f"{DATA[loaded.data.name].examples.removesuffix('s')} {state.image}: class {name}"


def image_buttons(loaded: Loaded, indices: list[int]) -> list[html.Button]:
    """Return a button for each of some test images. The browser marks the one that is picked."""
    buttons, names = [], DATA[loaded.data.name].class_names
    for k in indices:
        y = int(loaded.data.y[k])
        x = loaded.data.images(torch.tensor([k]))[0]
        if is_plane(loaded.data.name):
            a, b = x.flatten().tolist()
            content, label = f"{k}: {y}", f"point {k}, class {whole_label(names, y)}, at ({a:.2f}, {b:.2f})"
        else:
            label = f"image {k}, class {whole_label(names, y)}"
            content = html.Img(src=data_uri(thumbnail(x, THUMBNAIL_PX)), alt="")
        buttons.append(html.Button(
            content, title=label,
            **{"aria-label": label, "data-image": str(k)},
            **sets(image=k, own="", start=""),
        ))  # fmt: skip
    return buttons


def _cached_predictions(loaded: Loaded, count: int) -> torch.Tensor:
    key = loaded.identity, loaded.data.name, loaded.data.fingerprint, count
    if key not in _predictions:
        while len(_predictions) >= CACHED:
            _predictions.pop(next(iter(_predictions)), None)
        _predictions[key] = predictions(loaded.ensemble, loaded.data.images(slice(0, count)))
    return _predictions[key]


def decode_upload(contents: str, data: str) -> tuple[str, str]:
    """Convert an uploaded file (a data URI) to what the state holds of its pixels; and say how it was converted.

    Raises: UsageError for a file that is no picture, or a data set without pictures.
    """
    if is_plane(data):
        raise UsageError(f"{data} is a set of points in the plane: click into it instead")
    try:
        raw = base64.b64decode(contents.partition(",")[2], validate=True)
    except (binascii.Error, ValueError) as error:
        raise UsageError("the file arrived incomplete: try again") from error
    picture, conversion = read_picture(raw, DATA[data].shape)
    pixels = (picture * 255).round().to(torch.uint8).numpy().tobytes()
    return uploads.written(pixels), conversion
