"""A CRL server on loopback that serves what a test says, also badly."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class CrlServer:
    """`files` by path; `status` replaces 200; `answered` has (path, status) of every answer."""

    files: dict[str, bytes] = field(default_factory=dict)
    status: int = 200
    answered: list[tuple[str, int]] = field(default_factory=list)
    hanging: threading.Event = field(default_factory=threading.Event)
    """While set, requests get no answer."""
    port: int = 0

    @property
    def url(self) -> str:
        """Base URL."""
        return f"http://127.0.0.1:{self.port}"

    def serve(self, root: bytes, issuing: bytes) -> None:
        """Serve these two from now on."""
        self.files = {"/root.crl": root, "/issuing.crl": issuing}
        self.status = 200

    def respond(self, request: BaseHTTPRequestHandler) -> None:
        """Answer one request."""
        body = self.files.get(request.path, b"")
        etag = f'"{sha256(body).hexdigest()}"'
        status = self.status if body else 404
        if status == 200 and request.headers["If-None-Match"] == etag:
            status = 304
        request.send_response(status)
        request.send_header("ETag", etag)
        request.send_header("Content-Length", str(len(body) if status == 200 else 0))
        request.end_headers()
        if status == 200:
            request.wfile.write(body)
        self.answered.append((request.path, status))


@contextmanager
def crl_server() -> Iterator[CrlServer]:
    """A server for the time of one test."""
    state = CrlServer()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if state.hanging.is_set():
                self.connection.settimeout(30)
                self.rfile.read(1)  # until the client gives up
                return
            state.respond(self)

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        state.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield state
        finally:
            server.shutdown()
            thread.join()
