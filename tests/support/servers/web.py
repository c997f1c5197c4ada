"""An HTTP server of the tests' own that fails when it is told to."""

from __future__ import annotations

import json
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

FAULTS = ("500", "cut", "429", "malformed", "dropped", "503", "short", "429 after")
"""What may become of an answer; with `429 after` there is a Retry-After header."""


def one_in_twenty(number: int, _: str) -> str | None:
    """Return a fault for 5 % of the requests, one kind after another."""
    return FAULTS[number // 20 % len(FAULTS)] if number % 20 == 7 else None


class WebServer(ABC):
    """Context: a server on this machine; `answer` says what it holds."""

    def __init__(self) -> None:
        self.requests: list[str] = []
        """Path and query of each request."""
        self.faults: Callable[[int, str], str | None] = lambda number, path: None
        """What becomes of the answer to a request, by its number (from 0) and path; None: nothing."""
        self.retry_after = "1"
        self.held_from: int | None = None
        """From this request on, answers wait until `released` is set."""
        self.released = threading.Event()
        self._lock = threading.Lock()
        self._http = _Quiet(("127.0.0.1", 0), _handler(self))
        self.url = f"http://127.0.0.1:{self._http.server_address[1]}"

    def __enter__(self) -> WebServer:
        threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.released.set()
        self._http.shutdown()
        self._http.server_close()

    @abstractmethod
    def answer(self, path: str, query: dict[str, str], headers: Any) -> tuple[int, Any]:
        """Return status and JSON of the answer to a request."""

    def note(self, path: str) -> tuple[int, str | None]:
        """Return the number of a request and the fault it meets."""
        with self._lock:
            number = len(self.requests)
            self.requests.append(path)
        if self.held_from is not None and number >= self.held_from:
            self.released.wait(60)
        return number, self.faults(number, path)

    def asked(self, name: str) -> list[str]:
        """Return the values of a parameter in all requests that have it."""
        queries = [parse_qs(urlsplit(path).query) for path in self.requests]
        return [query[name][0] for query in queries if name in query]


class _Quiet(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: a client that was killed is meant to be."""


def _handler(server: WebServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True  # else each answer waits 40 ms for an acknowledgement

        def do_GET(self) -> None:
            _, fault = server.note(self.path)
            parts = urlsplit(self.path)
            query = {key: values[-1] for key, values in parse_qs(parts.query).items()}
            status, content = server.answer(parts.path, query, self.headers)
            headers: dict[str, str] = {}
            if fault == "dropped":
                self.close_connection = True
                return
            if fault == "short" and isinstance(content, dict) and content.get("data"):
                content = {**content, "data": content["data"][:-1]}
            if fault and fault[:3].isdigit():
                status, content = int(fault[:3]), {"message": "not now"}
            if fault == "429 after":
                headers = {"Retry-After": server.retry_after}
            body = json.dumps(content).encode()
            body = body[: len(body) // 2] if fault == "malformed" else body
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body[: len(body) // 2] if fault == "cut" else body)
            self.close_connection = self.close_connection or fault == "cut"

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    return Handler
