"""A real HTTP server on this machine that also misbehaves as servers and connections do."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class FileServer:
    """Serves `content` under any path, after the misbehavior that a test asks for.

    failures: status codes to answer first. cut_after: bytes after which the connection is closed,
    once. ranges: whether parts can be asked for. requests: the path and the Range of each.
    redirect: send the first path on to another.
    """

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.failures: list[int] = []
        self.cut_after: int | None = None
        self.ranges = True
        self.redirect = False
        self.requests: list[tuple[str, str | None]] = []
        self.url = ""

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        wanted = request.headers.get("Range")
        self.requests.append((request.path, wanted))
        if self.failures:
            request.send_error(self.failures.pop(0))
        elif self.redirect and request.path != "/moved":
            request.send_response(302)
            request.send_header("Location", "/moved")
            request.end_headers()
        else:
            self._send(request, wanted if self.ranges else None)

    def _send(self, request: BaseHTTPRequestHandler, wanted: str | None) -> None:
        first = int(wanted.removeprefix("bytes=").removesuffix("-")) if wanted else 0
        if wanted and first >= len(self.content):
            request.send_error(416)
            return
        body = self.content[first:]
        request.send_response(206 if wanted else 200)
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        cut, self.cut_after = self.cut_after, None
        request.wfile.write(body[:cut])


@contextmanager
def serving(content: bytes) -> Iterator[FileServer]:
    """A running server; `url` is that of its file."""
    server = FileServer(content)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            server.answer(self)

        def log_message(self, *_: object) -> None:
            """Keep the tests' output readable."""

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.url = f"http://127.0.0.1:{http.server_port}/weights.pth"
    threading.Thread(target=http.serve_forever, daemon=True).start()
    try:
        yield server
    finally:
        http.shutdown()
        http.server_close()
