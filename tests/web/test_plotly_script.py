"""The script that draws plotly's figures in the pages and in files."""

import re
from pathlib import Path

from plotly.offline import get_plotlyjs_version

import trs_explorer
from trs_explorer.web import plotly_script


def test_the_small_bundle_is_of_the_installed_plotly_and_has_its_licence():
    text = plotly_script.CARTESIAN.read_text(encoding="utf-8")
    assert re.search(r"plotly\.js \(cartesian - minified\) v(\S+)", text)[1] == get_plotlyjs_version()
    assert "MIT license" in text[:300]
    assert plotly_script.plotly_script() == plotly_script.CARTESIAN


def test_another_version_of_plotly_brings_its_own_script(monkeypatch):
    monkeypatch.setattr(plotly_script, "get_plotlyjs_version", lambda: "99.0.0")
    plotly_script.plotly_script.cache_clear()
    try:
        assert plotly_script.plotly_script() == plotly_script.WHOLE
        assert plotly_script.WHOLE.stat().st_size > 3 * plotly_script.CARTESIAN.stat().st_size
    finally:
        plotly_script.plotly_script.cache_clear()


def test_the_pages_load_the_script_from_their_own_server(app):
    client = app.server.test_client()
    assert '<script src="/plotly.js" defer>' in client.get("/").text
    with client.get("/plotly.js") as response:
        assert response.data == plotly_script.CARTESIAN.read_bytes()
    assert client.get("/compare").text.count("/plotly.js") == 1


def test_the_small_bundle_draws_every_kind_of_trace_that_is_made_here():
    package = Path(trs_explorer.__file__).parent
    sources = "".join(path.read_text() for room in ("figures", "web") for path in (package / room).rglob("*.py"))
    made = set(re.findall(r'"type": "(\w+)"', sources)) & kinds(plotly_script.WHOLE)
    assert {"scatter", "bar", "contour", "heatmap"} <= made
    assert made <= kinds(plotly_script.CARTESIAN)


def kinds(script: Path) -> set[str]:
    """The kinds of trace that a bundle draws."""
    return set(re.findall(r'moduleType:"trace",name:"(\w+)"', script.read_text(encoding="utf-8")))
