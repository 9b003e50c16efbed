"""What the pages have in common: the way from one to the other, the HTML file around them, and how they are answered."""

import json
from collections.abc import Callable, Sequence

import orjson
from dash import html
from flask import Response

from trs_explorer.explore.live import Full
from trs_explorer.files import Json, finite
from trs_explorer.options import UsageError
from trs_explorer.runs import RunError
from trs_explorer.web.markup import markup

Keys = Sequence[tuple[str, str]]  # a key, and what it does
PAGES = {"": "Explore", "compare": "Compare", "lesson": "Lesson"}


def nav(current: str, **attributes: str) -> html.Nav:
    """Links to all pages; the current one, by its path, is marked."""
    links = [
        html.A(title, href=f"/{path}", **({"aria-current": "page"} if path == current else {})) for path, title in PAGES.items()
    ]
    return html.Nav(links, **{"aria-label": "pages"}, **attributes)


def keys_table(keys: Keys) -> html.Table:
    """What every key does."""
    return html.Table(html.Tbody([html.Tr([html.Th(key, scope="row"), html.Td(what)]) for key, what in keys]))


def keys_dialog(keys: Keys) -> html.Dialog:
    """The list of keys that `?` opens."""
    return html.Dialog([html.H2("Keys"), keys_table(keys), html.Button("close", id="help-close")], id="help")


def as_script(meta: Json) -> str:
    """JSON that a script of the page reads, such that nothing in it can end the element."""
    return f'<script type="application/json" id="meta">{json.dumps(meta).replace("<", chr(92) + "u003c")}</script>'


def document(title: str, body: object, meta: Json, *, styles: Sequence[str], scripts: Sequence[str]) -> str:
    """A page without Dash, as an HTML file. body: components.  styles, scripts: names under assets/web, or addresses."""
    sheets = "".join(f'<link rel="stylesheet" href="/assets/{name}">' for name in styles)
    code = "".join(f'<script src="{name if name[0] == "/" else f"/assets/{name}"}"></script>' for name in scripts)
    return f"""<!DOCTYPE html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1"><link rel="icon" href="data:,">
<title>{title}</title>{sheets}</head>
<body>{markup(body)}
{as_script(meta)}{code}</body>
</html>"""


def answer(tell: Callable[[], Json]) -> Response:
    """As JSON what `tell` gives; what cannot be had in words, under "wrong"; 429 and words where there is no room for it now."""
    try:
        return as_json(tell())
    except Full as error:
        return Response(str(error), 429, mimetype="text/plain", headers={"Retry-After": "10"})
    except (UsageError, RunError) as error:
        return as_json({"wrong": str(error)})


def as_json(told: Json) -> Response:
    """An answer in JSON, whatever a damaged file has put into it."""
    try:
        body = orjson.dumps(told)
    except TypeError:  # half a surrogate pair, or a number of more than 64 bits
        body = json.dumps(finite(told, "", [])).encode()
    return Response(body, mimetype="application/json")


def nothing_to_show() -> Response:
    """What stands in the place of a page about runs when the last one has gone: it asks again until there is one."""
    words = "There is no run here any more. Runs that are trained into the folder, or put back, appear by themselves."
    body = [html.Header([html.H1("trs explore")], id="bar"), html.Main([html.P(words)], id="teacher")]
    page = document("trs explore", body, {}, styles=["explorer.css"], scripts=[])
    return Response(page, 200, {"Refresh": "5"}, mimetype="text/html")
