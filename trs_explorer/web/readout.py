"""The readout of the crosshair: what every model predicts at a point of the slice, and the image there."""

import math

import torch
from dash import html

from trs_explorer.explore.compute_lock import PROCESS_LOCK, one_thread
from trs_explorer.explore.pictures import data_uri, png
from trs_explorer.web.slice_view import SliceView


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
    rows = [_row(name, outputs[k], p[k], view.y) for k, name in enumerate(view.models)]
    table = html.Table([html.Caption(f"at ({a:.2f}, {b:.2f}){outside}"), html.Thead(head), html.Tbody(rows)])
    if view.plane.kind == "domain":
        return [table]
    picture = html.Img(src=data_uri(png(image[0].clamp(0, 1))), alt="the image at the crosshair", className="picture")
    return [picture, table]


def _row(name: str, output: torch.Tensor, p: torch.Tensor, y: int) -> html.Tr:
    others = torch.cat([output[:y], output[y + 1 :]])
    margin = float(output[y] - others.max()) if len(others) else math.nan
    predicted = "undefined" if output.isnan().any() else f"{int(output.argmax())}"
    texts = [predicted, f"{float(p.max()):.3f}", f"{margin:+.2f}", " ".join(f"{value:.1f}" for value in output.tolist())]
    return html.Tr([html.Th(name, scope="row"), *(html.Td(text) for text in texts)])
