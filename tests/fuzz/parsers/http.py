"""Calls of the gateway's routes: method and path on the first line, header lines, an empty line, the body.

The application is the real one, from its edge to the bodies' models; behind it stand-ins take what it lets through.
"""

import asyncio
import json
from collections.abc import Iterable
from contextlib import asynccontextmanager
from functools import cache
from random import Random
from typing import Any
from unittest.mock import patch
from uuid import UUID

from pydantic import ValidationError
from starlette.types import Message
from structlog.testing import capture_logs

from libs.bus.admission import Forged, admit
from libs.contracts.manifest import Manifest
from libs.contracts.problems import ProblemCode
from libs.contracts.progress import ReachedStage
from services.gateway import api, starting, store
from services.gateway.authentication import Caller
from services.gateway.bodies import parsed
from services.gateway.not_me import NotMeTaken
from services.gateway.problems import MEDIA_TYPE, STATUS, ProblemError
from services.gateway.schemas import Accepted, CancelAccepted, ResendAccepted, Started
from services.gateway.status import Told
from services.gateway.token_schemas import SignaturesAccepted
from tests.fuzz.loop import loop
from tests.fuzz.mutating import mutate_bytes, mutate_json
from tests.fuzz.target import Target
from tests.support.pki import EPOCH
from tests.support.requests import documents, header

_REQUEST = UUID("6f1b4f0e-5f0c-5e3b-9a35-0f3c6c1f7a11")
_USER = "800101145566"
_HEADER = header(_USER, request="r-1")
_FAULTS_OF_OURS = {ProblemCode.INTERNAL_ERROR, ProblemCode.UNAVAILABLE, ProblemCode.REQUEST_TIMEOUT}
_ROUTES = (
    b"POST /v1/signings",
    *(
        f"POST /v1/signings/{_REQUEST}/{what}".encode()
        for what in ("authorisations", "cancellation", "token-signatures", "otp-resends")
    ),
    b"POST /v1/devices/" + b"0" * 64 + b"/not-me",
)


def accepts(data: bytes) -> bool:
    """Whether a stand-in was reached; else the answer is a problem of the caller's, with nothing of the call in it."""
    with capture_logs(), patch.object(store, "told", _told):
        status, media_type, body = loop().run_until_complete(_answer(*_call(data)))
    if status in {200, 202}:
        return True
    if status == 405 and not body:
        return False
    assert media_type == MEDIA_TYPE, (status, media_type)
    answer = json.loads(body)
    assert STATUS[ProblemCode(answer["code"])] == status
    assert answer["code"] not in _FAULTS_OF_OURS, answer
    return False


def _call(data: bytes) -> tuple[dict[str, Any], bytes]:
    head, _, body = data.partition(b"\n\n")
    first, *lines = head.split(b"\n")
    method, _, path = first.partition(b" ")
    path, _, query = path.partition(b"?")
    pairs = [line.partition(b": ") for line in lines]
    scope = {
        "type": "http",
        "http_version": "1.1",
        "method": method.decode("latin-1"),
        "path": path.decode("latin-1"),
        "raw_path": path,
        "query_string": query,
        "root_path": "",
        "scheme": "http",
        "headers": [(name.lower(), value) for name, _, value in pairs],
    }
    return scope, body


async def _answer(scope: dict[str, Any], body: bytes) -> tuple[int, str, bytes]:
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Message) -> None:
        sent.append(message)

    await _app()(scope, receive, send)
    start = sent[0]
    found = {name.decode(): value.decode("latin-1") for name, value in start["headers"]}
    return start["status"], found.get("content-type", ""), b"".join(one.get("body", b"") for one in sent[1:])


class _StandIns:
    """In place of database, broker and clock."""

    async def admit(self, *given: str | None, connected: str | None = None) -> Any:
        assert connected is None, "no byte of a call is its connection"
        caller = Caller("igfmas", _USER, str(given[-1])[:10], EPOCH)
        return caller if len(given) == 1 else (caller, None)  # a device is admitted by its id, too

    async def start(self, caller: Caller, key: str, trace: str, body: bytes) -> Started:
        event = await asyncio.to_thread(parsed, starting._Sent, body)
        if not caller.owns(event.manifest.header):
            raise ProblemError(ProblemCode.CALLER_NOT_ALLOWED)
        assert isinstance(admit(event, None), Forged)
        try:  # as the caller's own signature over it would have it judged
            Manifest.model_validate(event.manifest.model_dump())
        except ValidationError:
            raise ProblemError(ProblemCode.MANIFEST_INVALID) from None
        request_id, root = event.identity()
        return Started(request_id=request_id, root=root.hex(), status_url="/")

    async def authorise(self, *_: Any) -> Accepted:
        return Accepted(attempt="a", status_url="/")

    async def cancel(self, *_: Any) -> CancelAccepted:
        return CancelAccepted(cancellation=_REQUEST, status_url="/")

    async def take(self, *given: Any) -> SignaturesAccepted | NotMeTaken:
        match given:
            case (_, body, _):
                return SignaturesAccepted(accepted=len(body.signatures), status_url="/")
            case (_, _, report, _):
                return NotMeTaken(request_id=report.request_id)
            case _:
                raise AssertionError(given)

    async def ask(self, *_: Any) -> ResendAccepted:
        return ResendAccepted(resend=_REQUEST, status_url="/")

    async def settled(self, _: UUID) -> None:
        return

    async def of(self, user: str, caller: Caller) -> Any:
        raise ProblemError(ProblemCode.NOT_FOUND)

    async def messages(self, device_id: str, token: str | None) -> Any:
        raise ProblemError(ProblemCode.NOT_FOUND)

    async def answer(self, *_: Any) -> Any:
        raise ProblemError(ProblemCode.NOT_FOUND)

    @asynccontextmanager
    async def acquire(self, **_: Any) -> Any:
        yield self

    async def fetch(self, *_: Any) -> list[Any]:
        return []


async def _told(_: Any, request_id: UUID) -> Told | None:
    reached: dict[ReachedStage, int] = {"signed": 0, "verified": 0, "posted": 0}
    return Told(request_id=request_id, header=_HEADER, medium=None, seq=1, reached=reached, rows=[])


@cache
def _app() -> Any:
    stand_ins: Any = _StandIns()
    names = ("access", "submissions", "tokens", "starting", "media", "resends", "inbox", "reports", "live", "pool")
    desks = dict.fromkeys(names, stand_ins)
    return api.create_api(service="gateway", service_root=b"", clock=lambda: EPOCH, **desks)


def _mutate(data: bytes, random: Random) -> bytes:
    head, _, body = data.partition(b"\n\n")
    if random.random() < 0.25:
        return mutate_bytes(head, random) + b"\n\n" + body
    return head + b"\n\n" + mutate_json(body, random)


def seeds() -> Iterable[bytes]:
    """A call of each route that has a body, and one without."""
    headers = (
        b"\nauthorization: Bearer x.y.z\ncontent-type: application/json\nidempotency-key: k-1\naccept-language: en\n\n"
    )
    manifest = {"header": header(_USER, request="r-1"), "documents": documents(1)}
    key = "0" * 64
    bodies: tuple[Any, ...] = (
        {"manifest": manifest, "caller_key": key, "signature": "AAAA"},
        {"sealing_key_id": key, "sealed": "AAAA" * 20},
        {},
        {"signatures": [{"document": "BB000000", "cms": "AAAA"}]},
        {"channel": "e-mail"},
        {"request_id": str(_REQUEST), "reference_code": "K7Q", "said_at": "2026-11-28T02:15:00Z", "signature": "AAAA"},
    )
    for route, body in zip(_ROUTES, bodies, strict=True):
        yield route + headers + json.dumps(body).encode()
    yield f"GET /v1/signings/{_REQUEST}".encode() + headers
    capitals = headers.rstrip().replace(b"application/json", b"Application/JSON")
    yield _ROUTES[2] + capitals + b"\ncontent-length: 2\n\n{}"


TARGET = Target("http", accepts, seeds, _mutate)
