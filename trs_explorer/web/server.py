"""Serve the explorer: one process, on this machine only by default. Who may use it: access.py."""

import contextlib
import errno
import ipaddress
import os
import signal
import socket
import sys
import threading
import webbrowser
from collections.abc import Iterator
from functools import partial

from flask import Flask
from waitress import create_server, wasyncore

from trs_explorer.options import UsageError
from trs_explorer.web.access import LOOPBACK, MAX_BODY, as_in_url, is_wildcard
from trs_explorer.web.log import quiet_waitress

PORT = 8050
PORTS_TRIED = 20  # after the requested one
MAX_HEADERS = 64 << 10  # bytes
GRACE_S = 0.5  # for requests that are being answered when the server is stopped


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
    if is_wildcard(sock.getsockname()[0]):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe, contextlib.suppress(OSError):
            host = LOOPBACK
            probe.connect(("192.0.2.1", 9))  # a datagram socket: this only looks up the route and sends nothing
            host = probe.getsockname()[0]
    return f"http://{as_in_url(host)}:{sock.getsockname()[1]}/"


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
