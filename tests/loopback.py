"""A web server on this machine that keeps what it is asked, and can fail in the ways servers do."""

import contextlib
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Home:
    """What the server gives, how, and what it was asked: for each request, the Range header ("" without one).

    cut: close the connection after that many bytes of a body; -1: never. status: answer every request with it. announce: whether
    to say how long a body is. hold: so many bytes of a body are sent at once, the rest waits for go.
    """

    content: bytes
    url: str = ""
    ranges: bool = True
    cut: int = -1
    status: int = 0
    announce: bool = True
    hold: int = 0
    asked: list[str] = field(default_factory=list)
    sent: int = 0
    go: threading.Event = field(default_factory=threading.Event)

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        asked = handler.headers.get("Range", "")
        self.asked.append(asked)
        if self.status:
            handler.send_error(self.status)
            return
        start = int(re.fullmatch(r"bytes=(\d+)-", asked)[1]) if asked and self.ranges else 0
        if start >= len(self.content) > 0:
            handler.send_error(416)
            return
        body = self.content[start:]
        handler.send_response(206 if start else 200)
        if start:
            handler.send_header("Content-Range", f"bytes {start}-{len(self.content) - 1}/{len(self.content)}")
        if self.announce:
            handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        body = body if self.cut < 0 else body[: self.cut]
        self.sent += len(body)
        with contextlib.suppress(OSError):  # who asked may be gone
            handler.wfile.write(body[: self.hold])
            self.go.wait(20)
            handler.wfile.write(body[self.hold :])


@contextlib.contextmanager
def serving(content: bytes, name: str) -> Iterator[Home]:
    """A server of those bytes at /home/NAME, until the end of the with block."""
    home = Home(content)
    home.go.set()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            home.answer(self)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        home.url = f"http://127.0.0.1:{server.server_port}/home/{name}"
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield home
        finally:
            home.go.set()
            server.shutdown()
            thread.join()
