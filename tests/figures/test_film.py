"""A film's frames show what a figure of each checkpoint alone would."""

import numpy as np
import plotly.graph_objects as go
import pytest

from trs_explorer.figures.film import film_spec
from trs_explorer.figures.slice_data import Slice
from trs_explorer.figures.slice_figure import slice_spec

LABELS = ["epoch 1", "epoch 2", "epoch 3"]


def checkpoint(edge: float, other: int = 1) -> Slice:
    """Two models that predict class 0 left of an edge and another class right of it; the second one class 0 everywhere."""
    along = np.linspace(-2, 2, 25)
    outputs = np.zeros((25, 25, 2, 4))
    outputs[:, :, 0, other] = along - edge
    outputs[:, :, :, [k for k in range(1, 4) if k != other]] = -9
    outputs[:, :, 1, other] = -9
    return Slice(["F1", "F2"], outputs, -2.0, 2.0, ("u", "v"))


@pytest.fixture(scope="module")
def film():
    return film_spec([checkpoint(-1), checkpoint(0.5, other=2), checkpoint(1.25)], LABELS, caption="bars, seed 0")


def moving(traces, name):
    return [(t["xaxis"], t["x"], t["y"]) for t in traces if t["name"] == name and t["x"]]


def test_every_frame_has_the_boundaries_and_pixels_of_its_checkpoint(film):
    edges = []
    for frame, one in zip(film["frames"], [checkpoint(-1), checkpoint(0.5, other=2), checkpoint(1.25)], strict=True):
        alone = slice_spec(one)
        for name in ("boundaries", "class numbers"):
            assert moving(frame["data"], name) == moving(alone["data"], name)
        assert [i["source"] for i in frame["layout"]["images"]] == [i["source"] for i in alone["layout"]["images"]]
        edges.append(moving(frame["data"], "boundaries")[0][1][0])
    assert edges == pytest.approx([-1, 0.5, 1.25])
    assert [frame["name"] for frame in film["frames"]] == LABELS == [s["label"] for s in film["layout"]["sliders"][0]["steps"]]


def test_a_frame_replaces_the_moving_traces_and_no_other(film):
    for frame in film["frames"]:
        replaced = [film["data"][k] for k in frame["traces"]]
        assert [(t["name"], t["xaxis"]) for t in replaced] == [(t["name"], t["xaxis"]) for t in frame["data"]]
        others = {t["name"] for k, t in enumerate(film["data"]) if k not in frame["traces"]}
        assert not others & {"boundaries", "class numbers"}
    go.Figure(film)  # plotly accepts every property


def test_the_key_has_the_classes_of_all_checkpoints(film):
    assert [t["name"] for t in film["data"] if t["showlegend"]] == ["0", "1", "2"]


def test_slices_that_do_not_fit_together_are_refused():
    wide = Slice(["F1", "F2"], checkpoint(0).outputs, -3.0, 3.0, ("u", "v"))
    with pytest.raises(ValueError, match="same square"):
        film_spec([checkpoint(0), wide], LABELS[:2])
    with pytest.raises(ValueError, match="one label each"):
        film_spec([checkpoint(0)], LABELS)
    with pytest.raises(ValueError, match="at least one"):
        film_spec([], [])
