"""What the SDK is answered: the call and the status on the first line, then the body, which for `follow` is a stream.

For `otp` and `notice` it is the plaintext of a message that somebody sealed to the device.
"""

import base64
import json
import ssl
from collections.abc import Iterable
from functools import cache
from random import Random
from unittest.mock import patch
from uuid import UUID

import httpx
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from pydantic import BaseModel

from libs.contracts.problems import ProblemCode
from libs.crypto.pki import ServicePurpose, build_service, distinguished_name
from libs.crypto.public_keys import public_key_id
from libs.crypto.sealing import seal
from libs.gpki_client import transport
from libs.gpki_client.answers import Event
from libs.gpki_client.caller import Caller
from libs.gpki_client.client import GpkiClient
from libs.gpki_client.device import Device, DeviceClient, SealedMessage, SealedNotice
from libs.gpki_client.errors import GpkiError, Problem
from libs.gpki_client.sealing import sealing_info
from services.gateway.examples import problem_example
from services.gateway.inbox_schemas import Messages, Notices
from services.gateway.schemas import ResendAccepted, SealingKey, SigningStatus, UserMedium
from tests.fuzz.loop import loop
from tests.fuzz.mutating import mutate_bytes, mutate_der, mutate_json
from tests.fuzz.parsers.authority import der, fixed_signer, tree
from tests.fuzz.target import Target
from tests.support.pki import EPOCH

_UNUSED = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
_USER = "800101145566"
_REQUEST = UUID("6f1b4f0e-5f0c-5e3b-9a35-0f3c6c1f7a11")
_DEVICE = Device.from_private_bytes(b"\x08" * 64)


def accepts(data: bytes) -> bool:
    """Whether the call returns what it says; else it raises an error of the SDK's own."""
    first, _, body = data.partition(b"\n")
    name, _, status = first.decode("utf-8", "replace").partition(" ")
    code = int(status) if status in {"200", "202", "400", "404", "503"} else 200
    try:
        with patch.object(transport, "pause", _at_once):
            loop().run_until_complete(_CALLS.get(name, _status)(code, body))
    except GpkiError:
        return False
    return True


def _answering(code: int, body: bytes) -> httpx.MockTransport:
    """The same answer to every try; to a stream that comes back, that it was told all."""
    asked = iter(range(transport.TRIES))

    def answer(request: httpx.Request) -> httpx.Response:
        again = next(asked, 0) and request.url.path.endswith("/events")
        return httpx.Response(204) if again else httpx.Response(code, content=body)

    return httpx.MockTransport(answer)


def _client(code: int, body: bytes) -> GpkiClient:
    root = der(tree().root)
    return GpkiClient(
        *("https://gpki.example", _caller()),
        service_root=root, tls=_UNUSED, clock=lambda: EPOCH, http_transport=_answering(code, body),
    )  # fmt: skip


@cache
def _caller() -> Caller:
    pem = fixed_signer(1).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return Caller.from_pem("igfmas", pem)


def _device(code: int, body: bytes) -> DeviceClient:
    return DeviceClient(
        *("https://gpki.example", _DEVICE, _USER),
        tls=_UNUSED, clock=lambda: EPOCH, http_transport=_answering(code, body),
    )  # fmt: skip


async def _status(code: int, body: bytes) -> object:
    async with _client(code, body) as client:
        return await client.status(_REQUEST, _USER)


async def _problem(code: int, body: bytes) -> object:
    try:
        return await _status(code, body)
    except Problem as problem:
        return problem


async def _medium(code: int, body: bytes) -> object:
    async with _client(code, body) as client:
        return await client.medium(_USER)


async def _resend(code: int, body: bytes) -> object:
    async with _client(code, body) as client:
        return await client.resend(_REQUEST, _USER)


async def _sealing_key(code: int, body: bytes) -> object:
    async with _client(code, body) as client:
        return await client.sealing_key(_USER)


async def _follow(code: int, body: bytes) -> object:
    async with _client(code, body) as client:
        events = [event async for event in client.follow(_REQUEST, _USER, after=1)]
    assert [event.seq for event in events] == sorted({event.seq for event in events})
    assert all(isinstance(event, Event) for event in events)
    return events


async def _messages(code: int, body: bytes) -> object:
    async with _device(code, body) as client:
        return await client.messages()


async def _notices(code: int, body: bytes) -> object:
    async with _device(code, body) as client:
        return await client.notices()


async def _otp(_: int, body: bytes) -> object:
    sealed = _sealed("otp-message", body)
    opened = _DEVICE.open(SealedMessage(_REQUEST, 1, "K7Q2", EPOCH, EPOCH, sealed))
    assert len(opened.otp) == 6
    assert opened.otp.isascii()
    assert opened.otp.isdecimal()
    return opened


async def _notice(_: int, body: bytes) -> object:
    return _DEVICE.open_notice(SealedNotice(_REQUEST, EPOCH, _sealed("notice", body)))


def _sealed(purpose: str, plaintext: bytes) -> bytes:
    info = sealing_info(purpose, str(_REQUEST), _DEVICE.device_id)
    return seal(plaintext, _DEVICE._sealing.public_key(), info)


_CALLS = {
    "status": _status,
    "problem": _problem,
    "medium": _medium,
    "resend": _resend,
    "sealing-key": _sealing_key,
    "follow": _follow,
    "messages": _messages,
    "notices": _notices,
    "otp": _otp,
    "notice": _notice,
}


async def _at_once(*_: float) -> None:
    return


def _mutate(data: bytes, random: Random) -> bytes:
    first, _, body = data.partition(b"\n")
    if random.random() < 0.1:
        name, _, _ = first.partition(b" ")
        first = name + b" " + random.choice((b"200", b"400", b"404", b"503"))
    if first.startswith(b"follow") and random.random() < 0.7:
        lines = body.split(b"\n")
        at = random.randrange(len(lines))
        name, colon, value = lines[at].partition(b": ")
        changed = mutate_json(value, random) if name == b"data" else mutate_bytes(value, random)
        lines[at] = name + colon + changed.replace(b"\n", b" ")
        return first + b"\n" + b"\n".join(lines)
    if first.startswith(b"sealing-key") and random.random() < 0.3:
        return first + b"\n" + _of_another_chain(body, random)
    return first + b"\n" + mutate_json(body, random)


def _of_another_chain(body: bytes, random: Random) -> bytes:
    try:
        offered = json.loads(body)
        offered["chain"][0] = base64.b64encode(mutate_der(base64.b64decode(offered["chain"][0]), random)).decode()
    except (ValueError, TypeError, KeyError, IndexError, RecursionError):
        return mutate_bytes(body, random)
    return json.dumps(offered).encode()


def seeds() -> Iterable[bytes]:
    """The fullest answer to each call, a problem, a timeline with a comment in it, and both kinds of message."""
    from tests.fuzz.parsers.samples import of_schema  # noqa: PLC0415 (hypothesis: not in the instrumented process)

    kinds: dict[str, type[BaseModel]] = {
        "status": SigningStatus,
        "medium": UserMedium,
        "resend": ResendAccepted,
        "messages": Messages,
        "notices": Notices,
    }
    for name, kind in kinds.items():
        yield f"{name} 200\n".encode() + json.dumps(of_schema(kind.model_json_schema())).encode()
    yield b"problem 400\n" + json.dumps(problem_example(ProblemCode.BODY_INVALID)).encode()
    key = X25519PrivateKey.from_private_bytes(b"\x03" * 32).public_key()
    made = build_service(
        tree().root, key, purpose=ServicePurpose.SEALING, name=distinguished_name("sealing key"),
        serial=tree().serial(), validity=tree().validity(),
    )  # fmt: skip
    offered = SealingKey(key_id=public_key_id(key), chain=(made.public_bytes(Encoding.DER),))
    yield b"sealing-key 200\n" + offered.model_dump_json().encode()
    told = {"at": "2026-11-23T08:00:00Z", "reached": 1, "data": {"channel": "e-mail"}}
    rows = ((2, "medium-resolved"), (3, "completed"))
    yield b"follow 200\n: a comment\n\n" + b"".join(
        f"id: {seq}\nevent: {kind}\ndata: {json.dumps(told)}\n\n".encode() for seq, kind in rows
    )
    otp = {"subject": "s", "body": "GPKI\n123456 is the code\n", "reference_code": "K7Q2"}
    yield b"otp 200\n" + json.dumps(otp).encode()
    yield b"notice 200\n" + json.dumps({"subject": "s", "body": "b"}).encode()


TARGET = Target("answers", accepts, seeds, _mutate, max_size=16 * 1024)
