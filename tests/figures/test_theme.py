"""Colours of any number of classes, looks, and names that plotly would otherwise interpret."""

import plotly.graph_objects as go
import pytest

from trs_explorer.figures.theme import CLASS_COLOURS, LOOKS, as_label, class_colours, template


def luminance(colour):
    """WCAG's relative luminance of #rrggbb."""
    channels = [int(colour[k : k + 2], 16) / 255 for k in (1, 3, 5)]
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("classes", [1, 2, 10, 11, 100, 300])
def test_every_class_has_a_colour_of_its_own(classes):
    colours = class_colours(classes)
    assert len(colours) == len(set(colours)) == classes
    assert colours[:10] == list(CLASS_COLOURS[:classes])
    assert all(len(colour) == 7 and int(colour[1:], 16) >= 0 for colour in colours)


def test_a_classs_colour_does_not_depend_on_how_many_there_are():
    assert class_colours(40)[:25] == class_colours(25)


@pytest.mark.parametrize("look", LOOKS)
def test_text_is_readable_in_every_look(look):
    bright, dark = sorted((luminance(LOOKS[look].text), luminance(LOOKS[look].paper)), reverse=True)
    assert (bright + 0.05) / (dark + 0.05) > 7
    go.Figure(layout={"template": template(look)})  # raises where a property does not exist


def test_print_is_on_white_whatever_is_behind_it():
    assert template("print")["layout"]["paper_bgcolor"] == "#ffffff"
    assert template("light")["layout"]["paper_bgcolor"] == template("dark")["layout"]["paper_bgcolor"] == "rgba(0,0,0,0)"


def test_names_are_shown_as_they_are():
    assert as_label("<b>x</b> %{y} & z") == "&lt;b&gt;x&lt;/b&gt; %&#123;y} &amp; z"
