"""Serve the explorer: one process, on this machine only by default, protected against other sites' pages.

It guards against DNS rebinding (a foreign name that resolves to 127.0.0.1; detected by the Host header), foreign pages that post
to it or make it compute (detected by the Origin and Sec-Fetch-Site headers), oversized requests, and, beyond loopback, anyone
without the token.
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
from trs_explorer.web.log import FORMATTER, quiet_waitress

LOOPBACK, PORT = "127.0.0.1", 8050
PORTS_TRIED = 20  # after the requested one
MAX_BODY, MAX_QUERY, MAX_HEADERS = 3 << 20, 16 << 10, 64 << 10  # bytes
GRACE_S = 0.5  # for requests that are being answered when the server is stopped

PAGE = re.compile(r"/|/compare|/lesson(/[^/]*)?")

# Dash starts with an inline script and styles elements inline, but needs no eval. Pictures are data: and blob: URLs.
POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; "
    "font-src 'self' data:; connect-src 'self'; worker-src 'self' blob:; object-src 'none'; base-uri 'none'; "
    "form-action 'self'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",  # a token in the address must not leak
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


# --- where to listen -------------------------------------------------------------------------------------------------


def bind(host: str = LOOPBACK, port: int = PORT) -> socket.socket:
    """Return a listening socket on host and port; if the port is in use, on the next free one of the 20 after it; 0: any port.

    Raises: UsageError if the host is not an address of this machine, or the port is out of range, forbidden or taken.
    """
    if not 0 <= port <= 65535:
        raise UsageError(f"--port must be >= 0 and <= 65535, got {port}")
    try:
        addresses = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise UsageError(f"--host {host!r} is not an address: {getattr(error, 'strerror', None) or error}") from error
    family, _, _, _, address = min(addresses, key=lambda entry: entry[0] != socket.AF_INET)  # localhost: IPv4 rather than IPv6
    last = min(port + PORTS_TRIED, 65535) if port else 0
    for candidate in range(port, last + 1):
        sock = socket.socket(family, socket.SOCK_STREAM)
        try:
            if os.name != "nt":  # there it means: a recently closed port may be reused
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind((address[0], candidate, *address[2:]))
            sock.listen()  # at once: two explorers that start together may both bind, but not both listen
        except OSError as error:
            sock.close()
            if error.errno != errno.EADDRINUSE:
                raise UsageError(_bind_error(host, candidate, error)) from error
        else:
            return sock
    which = f"port {port} is" if port == last else f"ports {port} to {last} are all"
    raise UsageError(f"{which} in use: choose another --port, or 0 for any that is free")


def _bind_error(host: str, port: int, error: OSError) -> str:
    if error.errno == errno.EACCES:
        return f"--port {port}: permission denied; choose one above 1023"
    if error.errno == errno.EADDRNOTAVAIL:
        return f"--host {host} is not an address of this machine: {LOOPBACK} is, and 0.0.0.0 means all of its addresses"
    return f"cannot listen on {host} port {port}: {error.strerror or error}"


def is_loopback(sock: socket.socket) -> bool:
    """Whether only this machine can reach the socket."""
    return ipaddress.ip_address(sock.getsockname()[0].partition("%")[0]).is_loopback


def address(host: str, sock: socket.socket) -> str:
    """Return the http address of the socket; for "all addresses", the one at which other machines reach this one."""
    if _is_wildcard(sock.getsockname()[0]):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe, contextlib.suppress(OSError):
            host = LOOPBACK
            probe.connect(("192.0.2.1", 9))  # a datagram socket: this only looks up the route and sends nothing
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
    """Spell a host as a browser does: lower case, IPv6 in its short form and in brackets."""
    ip = _ip(host)
    return f"[{ip}]" if ip and ip.version == 6 else str(ip or host.lower())


# --- access control --------------------------------------------------------------------------------------------------


def protect(flask_app: Flask, *, hosts: Collection[str] = (), token: str | None = None) -> None:
    """Wrap an app in access checks: 400 foreign Host, 403 foreign page or no token, 413 body and 414 query too long.

    hosts: names that the Host header may have besides this machine's loopback names. 0.0.0.0 or :: allows every bare address
    and this machine's name (an address cannot be rebound).
    token: if given, an address that carries it sets a cookie and redirects to the same address without it; every other request
    needs the cookie.
    Every response carries HEADERS. An error inside the app is a plain 500; its traceback goes to the app's log, and to stderr
    only with --debug.
    """
    # Not Flask's TRUSTED_HOSTS: it cannot name an IPv6 address, refuses LOCALHOST, and runs after the app's own hooks.
    names = {_as_in_url(host) for host in (LOOPBACK, "localhost", "::1", *hosts)}
    any_address = any(map(_is_wildcard, hosts))
    if any_address:
        names |= {socket.gethostname().lower(), f"{socket.gethostname().lower()}.local"}
    inner = flask_app.wsgi_app
    flask_app.config["MAX_CONTENT_LENGTH"] = MAX_BODY
    flask_app.register_error_handler(500, lambda _: _plain(500, "an error occurred; the terminal shows it"))
    default_handler.setFormatter(FORMATTER)

    def guarded(environ: dict, start_response: object) -> Iterable[bytes]:
        def start(status: str, headers: list[tuple[str, str]], exc_info: object = None) -> object:
            kept = [(name, value) for name, value in headers if name.title() not in HEADERS]
            return start_response(status, [*kept, *HEADERS.items()], exc_info)

        host = _named_host(environ.get("HTTP_HOST", ""))
        if host not in names and not (any_address and _ip(host)):
            return _plain(400, f"this explorer does not answer to the name {host[:80]!r}")(environ, start)
        request = Request(environ)
        refusal = _too_large(request) or _foreign(request) or (_check_token(request, token) if token else None)
        return (refusal or inner)(environ, start)

    flask_app.wsgi_app = guarded


def _plain(status: int, message: str) -> Response:
    return Response(f"{status}: {message}\n", status, content_type="text/plain; charset=utf-8")


def _named_host(header: str) -> str:
    """Return the Host header without its port, as in a URL; "" if it is missing or not a single host."""
    match = re.fullmatch(r"(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(:[0-9]{1,5})?", header, re.IGNORECASE | re.ASCII)
    return _as_in_url(match[1]) if match else ""


def _too_large(request: Request) -> Response | None:
    if len(request.query_string) > MAX_QUERY:
        return _plain(414, f"the address is longer than {MAX_QUERY >> 10} KiB")
    if (request.content_length or 0) > MAX_BODY:
        return _plain(413, f"the request is larger than {MAX_BODY >> 20} MiB")
    return None


def _foreign(request: Request) -> Response | None:
    """Refuse a request from another site's page, except a followed link to one of our pages.

    A page's address never starts work or changes anything. Browsers always send the origin of a POST, and for an address of this
    machine the site of every request.
    """
    origin, site = request.headers.get("Origin"), request.headers.get("Sec-Fetch-Site", "none")
    is_own = origin is None or origin.lower() == f"http://{request.headers['Host']}".lower()
    if is_own and site in ("same-origin", "none"):
        return None
    job_response = request.headers.get("Sec-Fetch-Dest", "document") == "document"
    if request.method in ("GET", "HEAD", "OPTIONS") and PAGE.fullmatch(request.path) and job_response:
        return None
    return _plain(403, "this request comes from another site's page")


def _check_token(request: Request, token: str) -> Response | None:
    """Return None for a request with the cookie, a response that sets it for one with the token, else a refusal."""
    cookie = f"trs-{request.environ.get('SERVER_PORT')}"  # cookies are shared by all ports of a host
    if request.method == "GET" and _same(request.args.get("token", ""), token):
        rest = [(name, value) for name, value in request.args.items(multi=True) if name != "token"]
        path = "/" + quote(request.path.lstrip("/\\"))  # never //elsewhere
        response = _forward(path + ("?" + urlencode(rest) if rest else ""))
        response.set_cookie(cookie, token, httponly=True, samesite="Strict")
        return response
    if _same(request.cookies.get(cookie, ""), token):
        return None
    return _plain(403, "this explorer needs the complete address that it printed, with ?token=...")


def _same(given: str, token: str) -> bool:
    return hmac.compare_digest(given.encode("utf-8", "replace"), token.encode())


def _forward(url: str) -> Response:
    """Return a page that forwards to url.

    A page and not a 303: after a click on a link in a chat or mail, a browser withholds a Strict cookie on the redirect too
    (another site started it), but not on the next page that this page requests.
    """
    head = (
        f'<!doctype html><meta charset="utf-8"><title>trs</title><meta http-equiv="refresh" content="0;url={html.escape(url)}">'
    )
    page = f'{head}<a href="{html.escape(url)}">Open the explorer</a>'
    return Response(page, 200, {"Cache-Control": "no-store"}, content_type="text/html; charset=utf-8")


# --- the server ------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def serving(flask_app: Flask, sock: socket.socket, threads: int = 8) -> Iterator[threading.Thread]:
    """Serve the app on a socket of `bind` until the block ends, and yield the serving thread.

    Shutting down takes less than a second, whatever is still running.
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
        max_request_body_size=4 * MAX_BODY,  # above it drops the connection; below, `protect` responds with a message
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
    """Serve the app until Ctrl-C or SIGTERM, then return within a second. Running requests are aborted."""
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
    """Open url in a browser if there is one and a screen; do nothing otherwise."""

    def show() -> None:
        with contextlib.suppress(Exception):
            webbrowser.open(url)

    # Without a screen `webbrowser` would start lynx or w3m, which take over the terminal.
    screens = ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER", "WSL_DISTRO_NAME")
    if sys.platform in ("darwin", "win32") or any(os.environ.get(name) for name in screens):
        threading.Thread(target=show, name="browser", daemon=True).start()
