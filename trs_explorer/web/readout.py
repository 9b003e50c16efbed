"""The readout of the crosshair: what every model predicts at a point of the slice, and the image there."""

import math
from collections.abc import Sequence

import torch
from dash import html

from trs_explorer.class_labels import IN_KEY, UNDEFINED, class_label, whole_label
from trs_explorer.explore.compute_lock import PROCESS_LOCK, one_thread
from trs_explorer.explore.pictures import data_uri, thumbnail
from trs_explorer.web.code_errors import readable_code_errors
from trs_explorer.web.slice_view import SliceView

MOST_LOGITS = 12  # of more classes, the largest logits are listed
LISTED = 5
PICTURE_PX = 168  # of the side of the image


@readable_code_errors
def readout(view: SliceView, a: float, b: float) -> list:
    """Return the image at (a, b) and a table of the models' classes, probabilities and logits there."""
    image = view.plane.images(torch.tensor([[a, b]]))
    with PROCESS_LOCK.hold(), one_thread(), torch.inference_mode():
        logits = view.loaded.ensemble.member_logits(image)
        outputs = torch.cat([logits, view.loaded.ensemble.vote(logits)[None]])[:, 0]
    p = outputs.softmax(-1)
    low, high = image.min().item(), image.max().item()
    outside = "" if low >= 0 and high <= 1 else f", not a valid image: pixels from {low:.2f} to {high:.2f}"
    head = html.Tr([html.Th(name, scope="col") for name in ("model", "class", "p", "margin of the true class", "logits")])
    rows = [_row(name, outputs[k], p[k], view.y, view.class_names) for k, name in enumerate(view.models)]
    table = html.Table([html.Caption(f"at ({a:.2f}, {b:.2f}){outside}"), html.Thead(head), html.Tbody(rows)])
    if view.plane.kind == "domain":
        return [table]
    source = data_uri(thumbnail(image[0].clamp(0, 1), PICTURE_PX))
    picture = html.Img(src=source, alt="the image at the crosshair", className="picture")
    return [picture, table]


def _row(name: str, output: torch.Tensor, p: torch.Tensor, y: int, names: Sequence[str]) -> html.Tr:
    others = torch.cat([output[:y], output[y + 1 :]])
    margin = float(output[y] - others.max()) if len(others) else math.nan
    undefined = bool(output.isnan().any())
    c = -1 if undefined else int(output.argmax())
    predicted = html.Td(class_label(names, c, IN_KEY), title=whole_label(names, c))
    texts = [f"{float(p.max()):.3f}", f"{margin:+.2f}", UNDEFINED if undefined else _logits(output, names)]
    return html.Tr([html.Th(name, scope="row"), predicted, *(html.Td(text) for text in texts)])


def _logits(output: torch.Tensor, names: Sequence[str]) -> str:
    """Write the logits of all classes in their order; of many classes, the largest ones."""
    classes, values = len(output), output.tolist()
    if classes <= MOST_LOGITS and not names:
        return " ".join(f"{value:.1f}" for value in values)
    shown = range(classes) if classes <= MOST_LOGITS else output.topk(LISTED).indices.tolist()
    texts = [f"{class_label(names, c, IN_KEY)} {values[c]:.1f}" for c in shown]
    return ", ".join(texts) + (f", and {classes - LISTED} smaller ones" if classes > MOST_LOGITS else "")
