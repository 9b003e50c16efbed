"""Shared by all pages: navigation, and the HTML document."""

import json
from collections.abc import Mapping, Sequence

from dash import html
from flask import Response, has_request_context, request

from trs_explorer.files import Json
from trs_explorer.web.markup import markup

Keys = Sequence[tuple[str, str]]  # (key, description)
PLOTLY_JS = "/plotly.js"
PAGES = {"": "Explore", "compare": "Compare", "lesson": "Lesson"}


def at(path: str) -> str:
    """Return the address of a path of ours, "/..." or "", below the prefix of a proxy if there is one (`access.protect`)."""
    return (request.script_root if has_request_context() else "") + path


def nav(current: str, **attributes: str) -> html.Nav:
    """Build links to all pages, with the current one (its path) marked."""
    links = [
        html.A(title, href=at(f"/{path}"), **({"aria-current": "page"} if path == current else {}))
        for path, title in PAGES.items()
    ]
    return html.Nav(links, **{"aria-label": "pages"}, **attributes)


def keys_table(keys: Keys) -> html.Table:
    """Build a table of keys and what they do."""
    return html.Table(html.Tbody([html.Tr([html.Th(key, scope="row"), html.Td(what)]) for key, what in keys]))


def keys_dialog(keys: Keys) -> html.Dialog:
    """Build the dialog that `?` opens, with all keys."""
    return html.Dialog([html.H2("Keys"), keys_table(keys), html.Button("close", id="help-close")], id="help")


def as_script(meta: Json) -> str:
    """Embed JSON for the page's scripts, escaped so that nothing in it can end the element."""
    return f'<script type="application/json" id="meta">{json.dumps(meta).replace("<", chr(92) + "u003c")}</script>'


def document(title: str, body: object, meta: Json, *, styles: Sequence[str], scripts: Sequence[str]) -> str:
    """Build the HTML document of a page without Dash.

    title: the document's title.
    body: components.
    meta: JSON for the scripts.
    styles, scripts: names under assets/web, or paths that begin with "/".
    """
    sheets = "".join(f'<link rel="stylesheet" href="{at(f"/assets/{name}")}">' for name in styles)
    sources = [at(name if name[0] == "/" else f"/assets/{name}") for name in scripts]
    code = "".join(f'<script src="{source}"></script>' for source in sources)
    return f"""<!DOCTYPE html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1"><link rel="icon" href="data:,">
<title>{title}</title>{sheets}</head>
<body>{markup(body)}
{as_script({"root": at(""), **meta})}{code}</body>
</html>"""


def dash_document(parts: Mapping[str, str], *, keys: Keys, head: str = "", before: str = "") -> str:
    """Build the HTML document of a Dash page.

    parts: what Dash puts into it.
    keys: of its dialog, which is not Dash's: every component costs time at every change.
    head: HTML for its head.
    before: HTML that stands before Dash's element.
    """
    first = "".join(parts[name] for name in ("metas", "favicon", "css")) + f"<title>{parts['title']}</title>"
    first += f'<script src="{at(PLOTLY_JS)}" defer></script>'  # Dash would load all of plotly, and only when it needs it
    # Dash starts after the modules with the callbacks of the browser, which it calls at once: module scripts run in order.
    renderer = parts["renderer"].replace("<script ", '<script type="module" ', 1)
    scripts = parts["config"] + parts["scripts"] + renderer
    body = f"{before}{parts['app_entry']}{markup(keys_dialog(keys))}<footer>{scripts}</footer>"
    return f'<!DOCTYPE html>\n<html lang="en"><head>{first}{head}</head><body>{body}</body></html>'


def preload(url_prefix: str, *paths: str) -> str:
    """Build links by which a browser loads scripts at once that another one will import."""
    return "".join(f'<link rel="modulepreload" href="{url_prefix}{path}">' for path in paths)


def unknown_page(path: str) -> tuple[str, int]:
    """Respond with a page that says that there is nothing at an address, and names the pages that there are."""
    links = [html.Li(html.A(title, href=at(f"/{page}"))) for page, title in PAGES.items()]
    body = [
        html.Header([html.H1("trs explore"), nav("none of them")]),
        html.Main([html.P(f"There is no page at {path[:80]!r}. These are the pages:"), html.Ul(links)], className="plain"),
    ]
    return document("trs explore", body, {}, styles=["explorer.css"], scripts=[]), 404


def no_runs_page() -> Response:
    """Respond with a page that says there is no run any more, and reloads until there is one."""
    message = "There is no run here any more. Runs that are trained into this folder, or restored to it, appear automatically."
    body = [html.Header([html.H1("trs explore")]), html.Main([html.P(message)], className="plain")]
    page = document("trs explore", body, {}, styles=["explorer.css"], scripts=[])
    return Response(page, 200, {"Refresh": "5"}, mimetype="text/html")
