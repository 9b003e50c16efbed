"""Who may use the explorer, by real requests to real sockets."""

import logging
import socket
import sys

import pytest
from flask.logging import default_handler
from small_server import Served, small_app

from trs_explorer.web import access, log, server

TOKEN = "a-token_of-43-characters"


# --- the Host header -------------------------------------------------------------------------------------------------

OWN = ("127.0.0.1", "localhost", "LOCALHOST", "LocalHost:8050", "127.0.0.1:1", "[::1]", "[::1]:8050", "[0:0::1]")
FOREIGN = (
    "evil.example",
    "evil.example:8050",
    "127.0.0.1.evil.example",
    "evil-localhost",
    "localhost.evil.example",
    "127.0.0.2",
    "192.168.0.7",
    "0.0.0.0",
    "[::2]",
    "[::]",
    "::1",
    "localhost, evil.example",
    "evil.example@localhost",
    "localhost@evil.example",
    "localhost:80:80",
    "localhost:port",
    "localhost/evil",
    "löcalhost",
    "",
    ":8050",
)


def test_own_names_are_answered_whatever_their_port_and_case(served: Served) -> None:
    client = served()
    for host in OWN:
        assert client.raw(f"GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n").startswith("HTTP/1.1 200"), host


def test_foreign_and_missing_hosts_get_400_on_every_path(served: Served) -> None:
    client = served()
    lines = [f"Host: {host}\r\n" for host in FOREIGN] + [
        "",
        "Host: localhost\r\nHost: evil.example\r\n",
        "X-Forwarded-Host: localhost\r\n",
    ]
    for line in lines:
        for begin in (
            "GET / HTTP/1.1",
            "GET /nowhere HTTP/1.1",
            "POST /echo HTTP/1.1",
            "GET http://localhost/ HTTP/1.1",
            "GET / HTTP/1.0",
        ):
            answer = client.raw(f"{begin}\r\n{line}Connection: close\r\n\r\n")
            assert answer.split(" ")[1] == "400", (begin, line)
            assert "page" not in answer


def test_the_host_that_was_asked_for_is_one_of_its_names(served: Served) -> None:
    client = served(hosts=("MyBox", "FE80::0:1"))
    assert client.ask(Host="mybox:8050").status == 200
    assert client.ask(Host="[fe80::1]:8050").status == 200
    assert client.ask(Host="mybox.evil.example").status == 400


def test_all_addresses_means_every_address_but_no_foreign_name(served: Served) -> None:
    client = served(hosts=("0.0.0.0",))
    for host in ("192.168.0.7:8050", "[fe80::1]", socket.gethostname().upper(), "localhost"):
        assert client.ask(Host=host).status == 200, host
    for host in ("evil.example", f"{socket.gethostname()}.evil.example", "192.168.0.7.evil.example", ""):
        assert client.ask(Host=host).status == 400, host


# --- the Origin header, sizes, headers -------------------------------------------------------------------------------


def test_a_post_from_another_sites_page_gets_403(served: Served) -> None:
    client = served()
    own = f"http://127.0.0.1:{client.port}"
    for origin in (own, own.upper(), None):
        given = {} if origin is None else {"Origin": origin}
        assert client.ask("/echo", "POST", b"12345", **given).text == "5"
    foreign = (
        "http://evil.example",
        "null",
        "",
        "http://127.0.0.1:9",
        f"https://127.0.0.1:{client.port}",
        own + "0",
        own + ".evil.example",
    )
    for origin in foreign:
        for method in ("POST", "PUT", "DELETE", "PATCH"):
            assert client.ask("/echo", method, b"1", Origin=origin).status == 403, (origin, method)
    assert client.ask("/", Origin="http://evil.example").status == 200  # it may ask; the browser does not let it read
    assert "Access-Control-Allow-Origin" not in client.ask("/", Origin="http://evil.example").headers


FETCHED = ({"Sec_Fetch_Dest": "image"}, {"Sec_Fetch_Dest": "iframe"}, {"Sec_Fetch_Dest": "empty"}, {"Sec_Fetch_Dest": ""})


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("site", ["cross-site", "same-site", "nonsense"])
def test_another_sites_page_lets_nothing_work_but_a_link_to_a_page_is_followed(served: Served, site: str, method: str) -> None:
    client, foreign = served(), {"Sec_Fetch_Site": site, "Sec_Fetch_Mode": "navigate"}
    for path in (
        "/_dash-layout",
        "/compare/_dash-layout",
        "/compare/_dash-update-component",
        "/lesson/train-it/train",
        "/lesson/a/b",
        "/lesson/_dash-layout",
        "/lesson/_dash-update-component",
        "/compare/",
        "/query",
    ):
        for more in (*FETCHED, {"Sec_Fetch_Dest": "document"}):
            assert client.ask(path, method, **foreign, **more).status == 403, (path, more)
    for path in ("/", "/?run=a", "/compare", "/lesson", "/lesson/zigzag"):
        for more in FETCHED:
            assert client.ask(path, method, **foreign, **more).status == 403, (path, more)
        assert client.ask(path, method, **foreign, Sec_Fetch_Dest="document").status in (200, 404), path  # the app's own word
    for own in ("same-origin", "none"):
        assert client.ask("/query", method, Sec_Fetch_Site=own).status == 200


def test_a_question_of_another_origin_starts_nothing_even_where_the_browser_does_not_name_the_site(served: Served) -> None:
    client = served()
    assert client.ask("/query", Origin="http://evil.example").status == 403
    assert client.ask("/query", Origin=f"http://127.0.0.1:{client.port}").status == 200


@pytest.mark.parametrize("debug", ["", "1"])
@pytest.mark.parametrize("name", ["served", "waitress"])
def test_nothing_that_the_log_says_is_an_escape_sequence(monkeypatch: pytest.MonkeyPatch, debug: str, name: str) -> None:
    monkeypatch.setenv("TRS_DEBUG", debug)
    access.protect(small_app())
    log.quiet_waitress()
    evil = "/\x1b]0;x\x07\u202e\udcff"
    try:
        raise ValueError(evil)
    except ValueError:
        told = [(sys.exc_info(), "asked for %s"), (None, "asked for %s\nand more")]
    for trouble, words in told:
        [formatter] = {h.formatter for h in (default_handler, *logging.getLogger("waitress").handlers)}
        line = formatter.format(logging.LogRecord(name, logging.ERROR, "", 0, words, (evil,), trouble))
        assert all(part.isprintable() for part in line.split("\n"))
        assert "\\x1b]0;x" in line


def test_bodies_are_bounded_with_and_without_a_length(served: Served) -> None:
    client = served()
    assert client.ask("/echo", "POST", bytes(access.MAX_BODY)).text == str(access.MAX_BODY)
    for path in ("/echo", "/broken"):  # whether or not anybody reads it
        answer = client.ask(path, "POST", bytes(access.MAX_BODY + 1))
        assert (answer.status, answer.text) == (413, "413: the request is larger than 3 MiB\n")
    chunks = b"".join(b"100000\r\n" + bytes(1 << 20) + b"\r\n" for _ in range((access.MAX_BODY >> 20) + 1)) + b"0\r\n\r\n"
    text = f"POST /echo HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n{chunks.decode()}"
    assert client.raw(text).startswith("HTTP/1.1 413")
    claim = f"POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: {10**12}\r\n\r\n"
    assert client.raw(claim).startswith("HTTP/1.1 413")


def test_addresses_and_headers_are_bounded(served: Served) -> None:
    client = served()
    assert client.ask("/query?" + "x" * access.MAX_QUERY).text == "x" * access.MAX_QUERY
    assert client.ask("/query?" + "x" * (access.MAX_QUERY + 1)).status == 414
    assert client.ask("/", X_Long="x" * 2 * server.MAX_HEADERS).status == 431


def test_every_answer_of_the_guard_and_the_app_has_the_headers(served: Served) -> None:
    client = served()
    answers = [
        client.ask("/"),
        client.ask("/nowhere"),
        client.ask("/broken"),
        client.ask("/", Host="evil.example"),
        client.ask("/echo", "POST", b"", Origin="null"),
        client.ask("/query?" + "x" * (access.MAX_QUERY + 1)),
    ]
    assert [answer.status for answer in answers] == [200, 404, 500, 400, 403, 414]
    for answer in answers:
        assert {name: answer.headers.get(name) for name in access.HEADERS} == access.HEADERS
        assert "waitress" not in str(answer.headers)


def test_the_policy_lets_nothing_come_from_or_go_to_another_host() -> None:
    rules = {rule.split()[0]: rule.split()[1:] for rule in access.POLICY.split("; ")}
    allowed = {"'self'", "'none'", "data:", "blob:", "'unsafe-inline'"}
    assert {source for sources in rules.values() for source in sources} <= allowed
    assert rules["default-src"] == rules["connect-src"] == ["'self'"]
    assert "frame-ancestors" in rules  # which ones: test_proxy.py
    assert "data:" not in rules["script-src"]


def test_an_apps_own_headers_do_not_stand_beside_ours(served: Served) -> None:
    app = small_app()
    app.after_request(lambda response: response.headers.set("content-security-policy", "default-src *") or response)
    answer = served(app).raw("GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    assert answer.lower().count("content-security-policy") == 1
    assert "default-src *" not in answer


# --- the token -------------------------------------------------------------------------------------------------------


def test_only_the_token_opens_and_then_the_cookie_does(served: Served) -> None:
    client = served(token=TOKEN)
    for path in (
        "/",
        "/?token=",
        "/?token=wrong",
        f"/?token={TOKEN}x",
        f"/?token={TOKEN[:-1]}",
        "/?token=%ff%C3%A9",
        f"/?Token={TOKEN}",
    ):
        refused = client.ask(path)
        assert (refused.status, refused.text.count("\n")) == (403, 1), path
        assert "Set-Cookie" not in refused.headers
    assert client.ask("/echo", "POST", b"1").status == 403
    assert client.ask(f"/echo?token={TOKEN}", "POST", b"1").status == 403

    admitted = client.ask(f"/query?run=a%26b&token={TOKEN}&n=1&n=2")
    assert admitted.status == 200
    assert 'content="0;url=/query?run=a%26b&amp;n=1&amp;n=2"' in admitted.text
    assert TOKEN not in admitted.text
    name, *flags = admitted.headers["Set-Cookie"].split("; ")
    assert name == f"trs-{client.port}={TOKEN}"
    assert {"HttpOnly", "SameSite=Strict", "Path=/"} <= set(flags)
    assert admitted.headers["Cache-Control"] == "no-store"

    assert client.ask("/", Cookie=name).text == "page"
    assert client.ask("/echo", "POST", b"1", Cookie=name).text == "1"
    assert client.ask("/echo", "POST", b"1", Cookie=name, Origin="http://evil.example").status == 403
    for wrong in (name[:-1], name + "x", f"trs-1={TOKEN}", f"trs-{client.port}=", "\xe9\xff"):
        assert client.ask("/", Cookie=wrong).status == 403, wrong


def test_the_way_on_never_leaves_the_machine(served: Served) -> None:
    client = served(token=TOKEN)
    for path in (
        "//evil.example/x",
        "/%2Fevil.example",
        "/\\evil.example",
        "/%5C%5Cevil.example",
        '/"><script>',
        "/%22%3E%3Cscript%3E",
    ):
        page = client.ask(f"{path}?token={TOKEN}")
        assert page.status == 200
        target = page.text.split('content="0;url=')[1].split('"')[0]
        assert target[0] == "/"
        assert target[1] not in "/\\"
        assert "<script" not in page.text


def test_a_foreign_host_is_refused_before_the_token_is_looked_at(served: Served) -> None:
    assert served(token=TOKEN).ask(f"/?token={TOKEN}", Host="evil.example").status == 400
