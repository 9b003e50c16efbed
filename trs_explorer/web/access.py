"""Who may use the explorer: checks of every request before the app sees it.

They guard against DNS rebinding (a foreign name that resolves to 127.0.0.1; detected by the Host header), foreign pages that post
to it or make it compute (detected by the Origin and Sec-Fetch-Site headers), oversized requests, and, beyond loopback, anyone
without the token.
"""

import hmac
import html
import ipaddress
import re
import socket
from collections.abc import Collection, Iterable
from urllib.parse import quote, urlencode

from flask import Flask
from flask.logging import default_handler
from werkzeug import Request, Response
from werkzeug.utils import redirect

from trs_explorer.options import UsageError
from trs_explorer.web.log import FORMATTER

LOOPBACK = "127.0.0.1"
MAX_BODY, MAX_QUERY = 3 << 20, 16 << 10  # bytes

PAGE = re.compile(r"/|/compare|/lesson(/[^/_][^/]*)?")

# Dash starts with an inline script and styles elements inline, but needs no eval. Pictures are data: and blob: URLs. Which pages
# may show these in a frame is added by `protect`.
POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; "
    "font-src 'self' data:; connect-src 'self'; worker-src 'self' blob:; object-src 'none'; base-uri 'none'; "
    "form-action 'self'; frame-ancestors "
)
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",  # a token in the address must not leak
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


def parse_prefix(given: str) -> str:
    """Return the path below which a proxy serves the explorer, as "/path"; "" for none. Raises UsageError for what is no path."""
    path = given.strip("/")
    if not re.fullmatch(r"[A-Za-z0-9._~-]*(/[A-Za-z0-9._~-]+)*", path) or {".", ".."} & set(path.split("/")):
        raise UsageError(f"--url-prefix {given!r} is not a path such as /trs or /user/ada/proxy/8050")
    return path and f"/{path}"


def parse_trusted(given: str) -> str:
    """Return the name of a trusted host as browsers spell it. Raises UsageError if it is no bare name or address."""
    name = as_in_url(given) if _ip(given) else "" if ":" in given else _named_host(given)
    if not name or is_wildcard(given):
        raise UsageError(f"--trusted-host {given!r} is no name such as hub.example.org: leave out scheme, port and path")
    return name


def protect(
    flask_app: Flask,
    *,
    hosts: Collection[str] = (),
    token: str | None = None,
    trusted: Collection[str] = (),
    prefix: str = "",
) -> None:
    """Wrap an app in access checks: 400 foreign Host, 403 foreign page or no token, 413 body and 414 query too long.

    hosts: names that the Host header may have besides this machine's loopback names. 0.0.0.0 or :: allows every bare address
        and this machine's name (an address cannot be rebound).
    token: if given, an address that carries it sets a cookie and redirects to the same address without it; every other request
        needs the cookie.
    trusted: names (`parse_trusted`) of a proxy, or of a notebook server. Requests may carry them as their Host, whatever the
        port and with TLS or without, and pages at these names may show the explorer in a frame.
    prefix: the path (`parse_prefix`) below which a proxy serves the explorer, whether the proxy removes it or not.

    Every response carries HEADERS and the POLICY. An error inside the app is a plain 500; its traceback goes to the app's log,
    and to stderr only with --debug.
    """
    # Not Flask's TRUSTED_HOSTS: it cannot name an IPv6 address, refuses LOCALHOST, and runs after the app's own hooks.
    names = {as_in_url(host) for host in (LOOPBACK, "localhost", "::1", *hosts, *trusted)}
    any_address = any(map(is_wildcard, hosts))
    if any_address:
        names |= {socket.gethostname().lower(), f"{socket.gethostname().lower()}.local"}
    frames = " ".join(["'self'", *(f"{scheme}://{host}:*" for host in trusted for scheme in ("http", "https"))])
    headers = HEADERS | {"Content-Security-Policy": POLICY + (frames if trusted else "'none'")}
    inner = flask_app.wsgi_app
    flask_app.config["MAX_CONTENT_LENGTH"] = MAX_BODY
    flask_app.register_error_handler(500, lambda _: _plain(500, "an error occurred; the terminal shows it"))
    default_handler.setFormatter(FORMATTER)

    def guarded(environ: dict, start_response: object) -> Iterable[bytes]:
        def start(status: str, given: list[tuple[str, str]], exc_info: object = None) -> object:
            kept = [(name, value) for name, value in given if name.title() not in headers]
            return start_response(status, [*kept, *headers.items()], exc_info)

        path = environ.get("PATH_INFO", "")
        if prefix:
            inside = path.removeprefix(prefix) if f"{path}/".startswith(f"{prefix}/") else path
            environ |= {"SCRIPT_NAME": prefix, "PATH_INFO": inside or "/"}
        host = _named_host(environ.get("HTTP_HOST", ""))
        if host not in names and not (any_address and _ip(host)):
            return _plain(400, f"this explorer does not answer to the name {host[:80]!r}")(environ, start)
        request = Request(environ)
        answer = _too_large(request) or _foreign(request, trusted) or (_check_token(request, token) if token else None)
        if prefix and path == prefix and not answer:  # relative addresses in the page need the slash
            query = environ.get("QUERY_STRING", "")
            answer = redirect(f"{prefix}/{query and f'?{query}'}")
        return (answer or inner)(environ, start)

    flask_app.wsgi_app = guarded


def _plain(status: int, message: str) -> Response:
    return Response(f"{status}: {message}\n", status, content_type="text/plain; charset=utf-8")


def _named_host(header: str) -> str:
    """Return the Host header without its port, as in a URL; "" if it is missing or not a single host."""
    match = re.fullmatch(r"(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(:[0-9]{1,5})?", header, re.IGNORECASE | re.ASCII)
    return as_in_url(match[1]) if match else ""


def _too_large(request: Request) -> Response | None:
    if len(request.query_string) > MAX_QUERY:
        return _plain(414, f"the address is longer than {MAX_QUERY >> 10} KiB")
    if (request.content_length or 0) > MAX_BODY:
        return _plain(413, f"the request is larger than {MAX_BODY >> 20} MiB")
    return None


def _foreign(request: Request, trusted: Collection[str]) -> Response | None:
    """Refuse a request from another site's page, except a followed link to one of our pages, or a frame in a trusted page.

    A page's address never starts work or changes anything. Browsers always send the origin of a POST, and for an address of this
    machine the site of every request. Which pages may show a frame is the POLICY's to decide, in the browser.
    """
    origin, site = request.headers.get("Origin"), request.headers.get("Sec-Fetch-Site", "none")
    is_same_origin = (
        origin is None or origin.lower() == f"http://{request.headers['Host']}".lower() or _host_of(origin) in trusted
    )
    if is_same_origin and site in ("same-origin", "none"):
        return None
    destinations = ("document", "iframe") if trusted else ("document",)
    is_shown = request.headers.get("Sec-Fetch-Dest", "document") in destinations
    if request.method in ("GET", "HEAD", "OPTIONS") and PAGE.fullmatch(request.path) and is_shown:
        return None
    return _plain(403, "this request comes from another site's page")


def _host_of(origin: str) -> str:
    """Return the host of an Origin header, "" if it has none."""
    scheme, separator, host = origin.lower().partition("://")
    return _named_host(host) if separator and scheme in ("http", "https") else ""


def _check_token(request: Request, token: str) -> Response | None:
    """Return None for a request with the cookie, a response that sets it for one with the token, else a refusal."""
    cookie = f"trs-{request.environ.get('SERVER_PORT')}"  # cookies are shared by all ports of a host
    if request.method == "GET" and _same(request.args.get("token", ""), token):
        rest = [(name, value) for name, value in request.args.items(multi=True) if name != "token"]
        path = request.root_path.rstrip("/") + "/" + quote(request.path.lstrip("/\\"))  # never //elsewhere
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


def is_wildcard(host: str) -> bool:
    """Whether the host means all addresses of this machine."""
    ip = _ip(host)
    return ip is not None and ip.is_unspecified


def _ip(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host.removeprefix("[").removesuffix("]"))
    except ValueError:
        return None


def as_in_url(host: str) -> str:
    """Spell a host as a browser does: lower case, IPv6 in its short form and in brackets."""
    ip = _ip(host)
    return f"[{ip}]" if ip and ip.version == 6 else str(ip or host.lower())
