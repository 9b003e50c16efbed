"""Serve a small app to tests: real requests to a real socket, behind the checks of every request."""

import contextlib
import http.client
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import flask

from trs_explorer.web import access, server


def small_app() -> flask.Flask:
    app = flask.Flask("served")
    app.add_url_rule("/", "root", view_func=lambda: "page")
    app.add_url_rule("/rest/<path:rest>", "rest", view_func=lambda rest: rest)
    app.add_url_rule("/echo", "echo", view_func=lambda: str(len(flask.request.get_data())), methods=["POST"])
    app.add_url_rule("/query", "query", view_func=lambda: flask.request.query_string)
    app.add_url_rule("/broken", "broken", view_func=lambda: 1 / 0)
    return app


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    text: str


@dataclass(frozen=True)
class Client:
    port: int

    def ask(self, path: str = "/", method: str = "GET", body: bytes | None = None, **headers: str) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
            answer = connection.getresponse()
            return Answer(answer.status, {k.title(): v for k, v in answer.getheaders()}, answer.read().decode())
        finally:
            connection.close()

    def raw(self, text: str) -> str:
        with socket.create_connection(("127.0.0.1", self.port), timeout=10) as sock:
            sock.sendall(text.encode("latin-1"))
            return b"".join(iter(lambda: sock.recv(65536), b"")).decode()


Served = Callable[..., Client]


@contextlib.contextmanager
def serving_small() -> Iterator[Served]:
    """Yield a function that serves an app behind `access.protect`, with its arguments, until the block ends."""
    with contextlib.ExitStack() as stack:

        def start(app: flask.Flask | None = None, **guard: object) -> Client:
            app = app or small_app()
            sock = server.bind(port=0)
            port = sock.getsockname()[1]
            access.protect(app, **guard)
            stack.enter_context(server.serving(app, sock))
            return Client(port)

        yield start
