"""The explorer behind a proxy and in a frame, by real requests to real sockets."""

import html
import json
import re
from pathlib import Path
from urllib.parse import urljoin

import flask
import pytest
from small_server import Served, small_app
from web_explorer import Explorer

from trs_explorer.options import UsageError
from trs_explorer.shipped import folder
from trs_explorer.web import access
from trs_explorer.web.app import create_app
from trs_explorer.web.compare.app import MODULES
from trs_explorer.web.lesson.app import START as LESSON_START

NAVIGATED = {"Sec_Fetch_Mode": "navigate", "Sec_Fetch_Dest": "iframe"}


@pytest.mark.parametrize(
    ("given", "path"),
    [("", ""), ("/", ""), ("trs", "/trs"), ("/trs/", "/trs"), ("/user/ada/proxy/8050/", "/user/ada/proxy/8050")],
)
def test_a_prefix_is_a_path(given: str, path: str) -> None:
    assert access.parse_prefix(given) == path


@pytest.mark.parametrize("given", ["//evil.example/x/..", "a b", "/a/../b", "http://x/", "/a?b", "/a//b", "é", "/a/./b"])
def test_what_is_no_path_is_refused(given: str) -> None:
    with pytest.raises(UsageError, match=r"--url-prefix .* is not a path such as"):
        access.parse_prefix(given)


@pytest.mark.parametrize(
    ("given", "name"),
    [("Hub.example.org", "hub.example.org"), ("localhost", "localhost"), ("0:0::1", "[::1]"), ("[::1]", "[::1]")],
)
def test_a_trusted_host_is_a_bare_name(given: str, name: str) -> None:
    assert access.parse_trusted(given) == name


@pytest.mark.parametrize(
    "given", ["", "https://hub.example.org", "hub.example.org:443", "hub/", "*", "*.example.org", "0.0.0.0", "::"]
)
def test_what_is_no_bare_name_is_refused(given: str) -> None:
    with pytest.raises(UsageError, match=r"--trusted-host .* is no name such as"):
        access.parse_trusted(given)


def test_a_prefix_may_be_removed_by_the_proxy_or_not(served: Served) -> None:
    app = small_app()
    app.add_url_rule("/where", "where", view_func=lambda: flask.request.root_path + " " + flask.request.path)
    client = served(app, prefix="/user/trs")
    assert client.ask("/user/trs/where").text == client.ask("/where").text == "/user/trs /where"
    assert client.ask("/user/trs/").text == client.ask("/").text == "page"
    moved = client.ask("/user/trs?run=a")
    assert (moved.status, moved.headers["Location"]) == (302, "/user/trs/?run=a")
    assert client.ask("/user/trs", Host="evil.example").status == 400
    assert client.ask("/user/trsx/where").status == 404
    assert client.ask("/user/trs/user/trs/where").status == 404


def test_only_a_trusted_name_is_answered_and_may_post(served: Served) -> None:
    client = served(trusted=["hub.example.org"])
    names = ("hub.example.org", "HUB.example.org:8443", "127.0.0.1")
    origins = ("https://hub.example.org", "http://hub.example.org:8000", "https://HUB.example.org")
    for name in names:
        assert client.ask("/", Host=name).status == 200
        for origin in origins:
            assert client.ask("/echo", "POST", b"1", Host=name, Origin=origin).status == 200, (name, origin)
    for name in ("example.org", "hub.example.org.evil.example", "xhub.example.org"):
        assert client.ask("/", Host=name).status == 400, name
        for origin in (f"https://{name}", "null", "hub.example.org", f"ftp://{names[0]}", f"https://{names[0]}@{name}"):
            assert client.ask("/echo", "POST", b"1", Origin=origin).status == 403, origin
    assert client.ask("/query", Origin=origins[0], Sec_Fetch_Site="cross-site").status == 403


def test_only_pages_at_a_trusted_name_show_it_in_a_frame(served: Served) -> None:
    for trusted, frames, status in (
        ((), ["'none'"], 403),
        (("localhost",), ["'self'", "http://localhost:*", "https://localhost:*"], 200),
    ):
        client = served(trusted=trusted)
        answer = client.ask("/?run=a", Sec_Fetch_Site="same-site", **NAVIGATED)
        assert answer.status == status
        policy = {rule.split()[0]: rule.split()[1:] for rule in answer.headers["Content-Security-Policy"].split("; ")}
        assert policy["frame-ancestors"] == frames
        assert client.ask("/query", Sec_Fetch_Site="same-site", **NAVIGATED).status == 403  # no page


def test_the_token_s_way_on_stays_below_the_prefix(served: Served) -> None:
    page = served(token="a-token", prefix="/user/trs").ask("/user/trs/query?n=1&token=a-token").text
    assert 'content="0;url=/user/trs/query?n=1"' in page


PATHS = ("/", "/compare", "/lesson/zigzag", "/lesson/teacher", "/lesson/nope")


@pytest.mark.parametrize("path", PATHS)
def test_every_address_on_every_page_is_below_the_prefix(explorer: Explorer, path: str) -> None:
    app = create_app(explorer.library, url_prefix="/user/trs")
    access.protect(app.server, prefix="/user/trs")
    client = app.server.test_client()
    page = client.get(f"/user/trs{path}").text
    addresses = re.findall(r'(?:href|src)="(/[^"]*)"', page)
    assert len(addresses) > 3
    assert [address for address in addresses if not address.startswith("/user/trs/")] == []
    for address in addresses:
        with client.get(html.unescape(address)) as answer:
            assert answer.status_code in (200, 302), address


def test_the_lesson_s_first_card_is_below_the_prefix(explorer: Explorer) -> None:
    app = create_app(explorer.library, url_prefix="/user/trs")
    access.protect(app.server, prefix="/user/trs")
    assert app.server.test_client().get("/user/trs/lesson").headers["Location"].startswith("/user/trs/lesson/")


def test_every_page_calls_its_callbacks_below_the_prefix_and_refuses_strangers(explorer: Explorer) -> None:
    app = create_app(explorer.library, url_prefix="/user/trs")
    access.protect(app.server, prefix="/user/trs")
    client, strange = app.server.test_client(), {"Origin": "http://evil.example"}
    for path, below in (("/", "/user/trs/"), ("/compare", "/user/trs/compare/"), ("/lesson/zigzag", "/user/trs/lesson/")):
        config = re.search(r'id="_dash-config" type="application/json">(.*?)</script>', client.get(f"/user/trs{path}").text)[1]
        assert json.loads(config)["requests_pathname_prefix"] == below
        assert client.get(f"{below}_dash-layout").status_code == 200
        address = f"{below}_dash-update-component"
        assert client.post(address, json={}, headers=strange).status_code == 403
        assert client.post(address, json={}, headers={"Host": "evil.example"}).status_code == 400
        malformed = {"inputs": [{"id": "address", "property": "search", "value": 5}]}
        assert client.post(address, json=malformed).status_code == 400


def test_the_lesson_s_scripts_are_below_the_prefix() -> None:
    script = (folder("assets") / "web" / "lesson" / LESSON_START).read_text()
    imports = [
        urljoin(f"http://host/user/trs/lesson/assets/{LESSON_START}", path) for path in re.findall(r'from "([^"]*)"', script)
    ]
    assert [
        path for path in imports if not path.startswith(("http://host/user/trs/assets/", "http://host/user/trs/lesson/assets/"))
    ] == []
    assert len(imports) == 4


def test_the_scripts_of_compare_import_those_of_explore_below_the_prefix() -> None:
    script = (folder("assets") / "web" / "compare" / "compare.mjs").read_text()
    imports = re.findall(r'from "([^"]*)"', script)
    base = "http://host/user/trs/compare/assets/compare.mjs"
    assert [urljoin(base, path) for path in imports] == [f"http://host/user/trs/assets/{name}" for name in MODULES]


SCRIPTS = sorted(path for kind in ("*.js", "*.mjs") for path in (folder("assets") / "web").rglob(kind))


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_no_script_names_an_address_from_the_root(script: Path) -> None:
    """Behind a proxy's prefix it would be somebody else's page: addresses are relative to the script or to the document."""
    assert re.findall(r"""(?:src: |href = |fetch\(|from |open\()["'`]/""", script.read_text()) == []
