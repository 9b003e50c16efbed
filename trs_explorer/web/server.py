"""Serving the explorer: one process, this machine only unless asked otherwise, and nobody else's page may talk to it.

What is guarded against: a foreign site whose name is made to mean 127.0.0.1 (DNS rebinding: the Host header tells), a foreign
page that posts to us or lets us work (the Origin and Sec-Fetch-Site headers tell), requests without end, and, beyond loopback,
whoever has no token.
"""

import contextlib
import errno
import hmac
import html
import ipaddress
import os
import re
import signal
import socket
import sys
import threading
import webbrowser
from collections.abc import Collection, Iterable, Iterator
from functools import partial
from urllib.parse import quote, urlencode

from flask import Flask
from flask.logging import default_handler
from waitress import create_server, wasyncore
from werkzeug import Request, Response

from trs_explorer.options import UsageError
from trs_explorer.web.log import LINES, quiet_waitress

LOOPBACK, PORT = "127.0.0.1", 8050
PORTS_TRIED = 20  # after the one asked for
MAX_BODY, MAX_QUERY, MAX_HEADERS = 3 << 20, 16 << 10, 64 << 10  # bytes
GRACE_S = 0.5  # for requests that are being answered when the server is stopped

PAGE = re.compile(r"/|/compare|/lesson(/[^/]*)?")

# Dash starts itself by an inline script and styles elements inline; nothing of it needs eval. Pictures are data: and blob: URLs.
POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; "
    "font-src 'self' data:; connect-src 'self'; worker-src 'self' blob:; object-src 'none'; base-uri 'none'; "
    "form-action 'self'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",  # a token in the address goes nowhere
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


# --- where to listen -------------------------------------------------------------------------------------------------


def bind(host: str = LOOPBACK, port: int = PORT) -> socket.socket:
    """A listening socket on host, at port or, where that is in use, at the next free one of the 20 after it; 0 takes any.

    Raises: UsageError if the host is not an address of this machine, or the port is out of range, forbidden or taken.
    """
    if not 0 <= port <= 65535:
        raise UsageError(f"--port must be >= 0 and <= 65535, got {port}")
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise UsageError(f"--host {host!r} is no address: {getattr(error, 'strerror', None) or error}") from error
    family, _, _, _, address = min(found, key=lambda entry: entry[0] != socket.AF_INET)  # localhost: IPv4 rather than IPv6
    last = min(port + PORTS_TRIED, 65535) if port else 0
    for candidate in range(port, last + 1):
        sock = socket.socket(family, socket.SOCK_STREAM)
        try:
            if os.name != "nt":  # where it means: a port that was left a moment ago may be taken again
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind((address[0], candidate, *address[2:]))
            sock.listen()  # now, not later: two explorers that start together may both bind, but not both listen
        except OSError as error:
            sock.close()
            if error.errno != errno.EADDRINUSE:
                raise UsageError(_refused(host, candidate, error)) from error
        else:
            return sock
    which = f"port {port} is" if port == last else f"ports {port} to {last} are all"
    raise UsageError(f"{which} in use: choose another --port, or 0 for any that is free")


def _refused(host: str, port: int, error: OSError) -> str:
    if error.errno == errno.EACCES:
        return f"--port {port}: permission denied; choose one above 1023"
    if error.errno == errno.EADDRNOTAVAIL:
        return f"--host {host} is not an address of this machine: {LOOPBACK} is, and 0.0.0.0 stands for all it has"
    return f"cannot listen on {host} port {port}: {error.strerror or error}"


def is_loopback(sock: socket.socket) -> bool:
    """Whether only this machine can reach the socket."""
    return ipaddress.ip_address(sock.getsockname()[0].partition("%")[0]).is_loopback


def address(host: str, sock: socket.socket) -> str:
    """The http address at which a browser finds the socket; for "all addresses" the one by which others reach this machine."""
    if _is_wildcard(sock.getsockname()[0]):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe, contextlib.suppress(OSError):
            host = LOOPBACK
            probe.connect(("192.0.2.1", 9))  # a datagram socket: this looks up the route and sends nothing
            host = probe.getsockname()[0]
    return f"http://{_as_in_url(host)}:{sock.getsockname()[1]}/"


def _is_wildcard(host: str) -> bool:
    ip = _ip(host)
    return ip is not None and ip.is_unspecified


def _ip(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host.removeprefix("[").removesuffix("]"))
    except ValueError:
        return None


def _as_in_url(host: str) -> str:
    """A host the way a browser spells it: lower case, IPv6 in its short form and in brackets."""
    ip = _ip(host)
    return f"[{ip}]" if ip and ip.version == 6 else str(ip or host.lower())


# --- who may ask for what --------------------------------------------------------------------------------------------


def protect(flask_app: Flask, *, hosts: Collection[str] = (), token: str | None = None) -> None:
    """Put the guard in front of an app: 400 foreign Host, 403 foreign page or no token, 413 body and 414 query too long.

    hosts: what the Host header may name besides this machine's loopback names; 0.0.0.0 or :: admits every bare address and
    this machine's name (an address cannot be rebound). With a token, an address that carries it sets a cookie and leads on
    to the same address without it; everything else needs the cookie. Every answer carries HEADERS. What fails inside is a
    plain 500; its traceback goes to the app's log, on stderr only with --debug.
    """
    # Not Flask's TRUSTED_HOSTS: it cannot name an IPv6 address, refuses LOCALHOST, and is asked after the app's own hooks.
    names = {_as_in_url(host) for host in (LOOPBACK, "localhost", "::1", *hosts)}
    any_address = any(map(_is_wildcard, hosts))
    if any_address:
        names |= {socket.gethostname().lower(), f"{socket.gethostname().lower()}.local"}
    inner = flask_app.wsgi_app
    flask_app.config["MAX_CONTENT_LENGTH"] = MAX_BODY
    flask_app.register_error_handler(500, lambda _: _plain(500, "something failed here; the terminal names it"))
    default_handler.setFormatter(LINES)

    def guarded(environ: dict, start_response: object) -> Iterable[bytes]:
        def start(status: str, headers: list[tuple[str, str]], exc_info: object = None) -> object:
            kept = [(name, value) for name, value in headers if name.title() not in HEADERS]
            return start_response(status, [*kept, *HEADERS.items()], exc_info)

        host = _named_host(environ.get("HTTP_HOST", ""))
        if host not in names and not (any_address and _ip(host)):
            return _plain(400, f"this explorer does not answer to the name {host[:80]!r}")(environ, start)
        request = Request(environ)
        answer = _too_much(request) or _foreign(request) or (_admission(request, token) if token else None)
        return (answer or inner)(environ, start)

    flask_app.wsgi_app = guarded


def _plain(status: int, words: str) -> Response:
    return Response(f"{status}: {words}\n", status, content_type="text/plain; charset=utf-8")


def _named_host(header: str) -> str:
    """The Host header without its port, as in a URL; "" if there is none or it is not one host."""
    found = re.fullmatch(r"(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(:[0-9]{1,5})?", header, re.IGNORECASE | re.ASCII)
    return _as_in_url(found[1]) if found else ""


def _too_much(request: Request) -> Response | None:
    if len(request.query_string) > MAX_QUERY:
        return _plain(414, f"the address is longer than {MAX_QUERY >> 10} KiB")
    if (request.content_length or 0) > MAX_BODY:
        return _plain(413, f"the request is larger than {MAX_BODY >> 20} MiB")
    return None


def _foreign(request: Request) -> Response | None:
    """A refusal if another site's page has sent it; but for a link that is followed to a page of ours.

    Nothing that starts work or changes anything is at the address of a page. Browsers always name the origin of a POST, and for
    an address of this machine the site that any request comes from.
    """
    origin, site = request.headers.get("Origin"), request.headers.get("Sec-Fetch-Site", "none")
    own = origin is None or origin.lower() == f"http://{request.headers['Host']}".lower()
    if own and site in ("same-origin", "none"):
        return None
    followed = request.headers.get("Sec-Fetch-Dest", "document") == "document"
    if request.method in ("GET", "HEAD", "OPTIONS") and PAGE.fullmatch(request.path) and followed:
        return None
    return _plain(403, "this request comes from another site's page")


def _admission(request: Request, token: str) -> Response | None:
    """None for who has the cookie; the cookie for who brings the token; a refusal for anybody else."""
    cookie = f"trs-{request.environ.get('SERVER_PORT')}"  # cookies are shared by all ports of a host
    if request.method == "GET" and _same(request.args.get("token", ""), token):
        rest = [(name, value) for name, value in request.args.items(multi=True) if name != "token"]
        path = "/" + quote(request.path.lstrip("/\\"))  # never //elsewhere
        answer = _forward(path + ("?" + urlencode(rest) if rest else ""))
        answer.set_cookie(cookie, token, httponly=True, samesite="Strict")
        return answer
    if _same(request.cookies.get(cookie, ""), token):
        return None
    return _plain(403, "this explorer opens only by the whole address that it printed, with ?token=...")


def _same(given: str, token: str) -> bool:
    return hmac.compare_digest(given.encode("utf-8", "replace"), token.encode())


def _forward(url: str) -> Response:
    """A page that leads on to url.

    A page and not a 303: after a click on a link in somebody's chat or mail a browser keeps a Strict cookie back on the
    redirect too (the other site began it), but not on the next page that this one asks for.
    """
    head = (
        f'<!doctype html><meta charset="utf-8"><title>trs</title><meta http-equiv="refresh" content="0;url={html.escape(url)}">'
    )
    page = f'{head}<a href="{html.escape(url)}">Open the explorer</a>'
    return Response(page, 200, {"Cache-Control": "no-store"}, content_type="text/html; charset=utf-8")


# --- the server ------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def serving(flask_app: Flask, sock: socket.socket, threads: int = 8) -> Iterator[threading.Thread]:
    """Serve the app on a socket of `bind` until the block ends; that takes less than a second, whatever still runs.

    Gives the thread that serves.
    """
    quiet_waitress()
    channels: dict = {}
    server = create_server(
        flask_app,
        map=channels,
        sockets=[sock],
        threads=threads,
        ident="trs",
        asyncore_use_poll=True,  # select() ends at file number 1024
        log_socket_errors=False,  # a browser that closes a tab is no error
        max_request_header_size=MAX_HEADERS,
        max_request_body_size=4 * MAX_BODY,  # it drops the connection; below that the guard answers in words
    )
    loop = threading.Thread(target=server.run, name="web server", daemon=True)
    loop.start()
    try:
        yield loop
    finally:
        server.task_dispatcher.shutdown(timeout=GRACE_S)
        with contextlib.suppress(OSError):  # the loop is over already
            server.trigger.pull_trigger(partial(wasyncore.close_all, channels, ignore_all=True))
        loop.join(GRACE_S / 2)


def serve(flask_app: Flask, sock: socket.socket, threads: int = 8) -> None:
    """Serve the app until Ctrl-C or SIGTERM; then it returns, within a second. Requests that still run are cut off."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with serving(flask_app, sock, threads) as loop:
            while loop.is_alive():
                loop.join(1)
    except KeyboardInterrupt:
        pass
    finally:
        signal.signal(signal.SIGTERM, before)


def open_browser(url: str) -> None:
    """Show url in the person's browser, if there is one and a screen to show it on; says nothing if not."""

    def show() -> None:
        with contextlib.suppress(Exception):
            webbrowser.open(url)

    # Without a screen `webbrowser` finds lynx or w3m, which would take the terminal over.
    screens = ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER", "WSL_DISTRO_NAME")
    if sys.platform in ("darwin", "win32") or any(os.environ.get(name) for name in screens):
        threading.Thread(target=show, name="browser", daemon=True).start()
