"""A tiny real HTTP server that plays scripted answers and keeps every request."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit


@dataclass(frozen=True)
class Answer:
    """What is sent: a body as JSON, or text and bytes as they are."""

    body: Any = None
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    kind: str = "application/json"

    @property
    def content(self) -> bytes:
        """The body's bytes."""
        if isinstance(self.body, bytes):
            return self.body
        return (self.body if isinstance(self.body, str) else json.dumps(self.body)).encode()


@dataclass(frozen=True)
class Asked:
    """What came: method, path, query (each name's last value), header names in lower case, body."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes

    @property
    def form(self) -> dict[str, str]:
        """The body as a form."""
        return {name: values[-1] for name, values in parse_qs(self.body.decode()).items()}


Play = Answer | Callable[[Asked], Answer]


class Scripted:
    """The server: ``play`` says what each path answers, one answer after the other, the last for ever."""

    def __init__(self) -> None:
        self.asked: list[Asked] = []
        self._plays: dict[str, list[Play]] = {}
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    @property
    def url(self) -> str:
        """The origin."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def play(self, path: str, *answers: Play) -> None:
        """From now on ``path`` gives these answers in turn; ``*`` is any other path."""
        self._plays[path] = list(answers)

    def paths(self) -> list[str]:
        """The paths asked for, in order."""
        return [asked.path for asked in self.asked]

    def close(self) -> None:
        """Ends the server."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _answer(self, asked: Asked) -> Answer:
        with self._lock:
            self.asked.append(asked)
            plays = self._plays.get(asked.path) or self._plays.get("*") or [Answer({"unscripted": True}, 418)]
            play = plays.pop(0) if len(plays) > 1 else plays[0]
        return play if isinstance(play, Answer) else play(asked)

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        scripted = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _play(self) -> None:
                parts = urlsplit(self.path)
                query = {name: values[-1] for name, values in parse_qs(parts.query).items()}
                headers = {name.lower(): value for name, value in self.headers.items()}
                body = self.rfile.read(int(headers.get("content-length", 0)))
                answer = scripted._answer(Asked(self.command, parts.path, query, headers, body))
                self.send_response(answer.status)
                if answer.kind:
                    self.send_header("content-type", answer.kind)
                self.send_header("content-length", str(len(answer.content)))
                for name, value in answer.headers.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(answer.content)

            do_GET = do_POST = _play

            def log_message(self, *_: object) -> None:
                """Says nothing."""

        return Handler


def uid(name: str) -> str:
    """A UUID that a short name stands for, as in ``u1``."""
    return f"{name.encode().hex():0<8}-0000-4000-8000-000000000000"


def named(id: str) -> str:
    """The name that a UUID of `uid` stands for."""
    return bytes.fromhex(id[:8]).rstrip(b"\0").decode()


def connection(user: str, vehicle: str, *, mode: str = "live", identity: str = "", **changed: Any) -> dict[str, Any]:
    """A row of V3's connections; user and vehicle by the names that `uid` turns into ids."""
    identity = identity or f"c-{user}-{vehicle}"
    user, vehicle = uid(user), uid(vehicle)
    return {
        "id": identity,
        "type": "connection",
        "attributes": {
            "permissions": ["read_odometer"],
            "vehicle": {"make": "kia", "model": "EV9", "year": 2024, "mode": mode, "powertrainType": "BEV"},
            "user": {"id": user, **changed},
        },
        "relationships": {
            "vehicle": {"data": {"id": vehicle, "type": "vehicle"}},
            "user": {"data": {"id": user, "type": "user"}},
        },
        "meta": {"createdAt": "2026-01-02T03:04:05.678Z"},
    }


def page(*rows: dict[str, Any], total: int | None, next: str | None = None) -> Answer:
    """A page of V3's connections."""
    meta = {} if total is None else {"totalCount": total}
    return Answer({"data": list(rows), "meta": {"pageNumber": 1, **meta}, "links": {"next": next, "prev": None}})


def signal(code: str, body: Any = None, *, status: str = "SUCCESS", error: Any = None, **meta: Any) -> dict[str, Any]:
    """A signal as V3's REST gives it."""
    says: dict[str, Any] = {"value": status} | ({"error": error} if error else {})
    inner = {"code": code, "status": says} | ({} if body is None else {"body": body})
    return {"id": code, "type": "signal", "attributes": inner, "meta": meta}
