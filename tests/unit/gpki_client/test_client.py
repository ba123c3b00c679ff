"""How calls behave on the way: an assertion for each try, one effect, a bounded end, and errors that say what to do."""

import base64
import json
import ssl
from collections.abc import Callable
from typing import Any
from uuid import UUID, uuid4

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding

from libs.crypto.public_keys import public_key_id
from libs.crypto.sealing import open_sealed, sealing_info
from libs.crypto.secrets import Secrets
from libs.gpki_client import AnswerError, Caller, GpkiClient, GpkiUnavailable, Problem, SecretsError, transport
from libs.gpki_client.caller import ASSERTION_LIFETIME, AUDIENCE
from tests.support.pki import EPOCH, Pki
from tests.unit.gpki_client.test_vectors import manifest

PRIVATE = Ed25519PrivateKey.generate()
KEY = Caller("igfmas", PRIVATE)
USER = "800101055566"
UNUSED = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""The transport is a mock's."""
PIN, OTP = "Kn4ri-rahsia", "482913"


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "RETRY_SECONDS", 0.0)


@pytest.fixture(scope="module")
def pki() -> Pki:
    return Pki()


class Server:
    """Answers from a list, and keeps what it was asked."""

    def __init__(self, *answers: httpx.Response | Exception) -> None:
        self._answers = iter(answers)
        self.asked: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request)
        answer = next(self._answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def body(self, number: int = -1) -> Any:
        return json.loads(self.asked[number].content)


def client(server: Callable[[httpx.Request], httpx.Response], root: bytes = b"") -> GpkiClient:
    mock = httpx.MockTransport(server)
    return GpkiClient(
        "https://127.0.0.1:1", KEY, service_root=root, tls=UNUSED, clock=lambda: EPOCH, http_transport=mock
    )


ACCEPTED = httpx.Response(202, json={"cancellation": str(uuid4()), "status_url": "/x"})


async def cancel(server: Server, **more: Any) -> UUID:
    async with client(server) as gpki:
        return await gpki.cancel(uuid4(), USER, **more)


async def test_every_try_has_an_assertion_of_its_own_that_names_caller_and_user() -> None:
    server = Server(httpx.Response(503), ACCEPTED)
    await cancel(server)
    claims = []
    for request in server.asked:
        token = request.headers["authorization"].removeprefix("Bearer ")
        assert jwt.get_unverified_header(token)["kid"] == KEY.key_id
        options: Any = {"verify_exp": False, "verify_iat": False}
        claims.append(jwt.decode(token, PRIVATE.public_key(), algorithms=["EdDSA"], audience=AUDIENCE, options=options))
    assert {(claim["iss"], claim["sub"]) for claim in claims} == {("igfmas", USER)}
    assert all(claim["exp"] - claim["iat"] == ASSERTION_LIFETIME.total_seconds() < 60 for claim in claims)
    assert claims[0]["jti"] != claims[1]["jti"]


@pytest.mark.parametrize("given", [None, "mine"])
async def test_a_call_that_is_made_again_is_the_same_call(given: str | None) -> None:
    server = Server(httpx.ConnectError("refused"), httpx.ReadTimeout("slow"), httpx.Response(502), ACCEPTED)
    await cancel(server, idempotency_key=given)
    keys = {request.headers["idempotency-key"] for request in server.asked}
    assert len(keys) == len({request.content for request in server.asked}) == 1
    assert given is None or keys == {given}


async def test_two_calls_have_two_idempotency_keys() -> None:
    server = Server(ACCEPTED, ACCEPTED)
    await cancel(server)
    await cancel(server)
    assert len({request.headers["idempotency-key"] for request in server.asked}) == 2


PROBLEM = {"code": "id-conflict", "detail": "lain", "next_step": "Semak.", "trace_id": "t1", "title": "", "status": 409}


async def test_a_refusal_says_code_detail_next_step_and_trace_and_is_not_repeated() -> None:
    server = Server(httpx.Response(409, json=PROBLEM))
    with pytest.raises(Problem) as raised:
        await cancel(server)
    problem = raised.value
    assert (problem.status, problem.code, problem.detail) == (409, "id-conflict", "lain")
    assert (problem.next_step, problem.trace_id) == ("Semak.", "t1")
    assert len(server.asked) == 1


async def test_a_refusal_says_which_field_breaks_which_rule_and_whether_anything_was_posted() -> None:
    faults = [{"place": "documents.0.amount", "rule": "string_pattern_mismatch"}]
    server = Server(httpx.Response(422, json=PROBLEM | {"errors": faults, "signed": False, "posted": False}))
    with pytest.raises(Problem, match=r"documents\.0\.amount: string_pattern_mismatch") as raised:
        await cancel(server)
    assert (raised.value.told["errors"], raised.value.told["posted"]) == (faults, False)


@pytest.mark.parametrize("content", [b"", b"[]", b"<html>", b'"x"', b'{"errors": 5}', b'{"errors": ["x"]}'])
async def test_a_refusal_without_problem_details_is_a_refusal_still(content: bytes) -> None:
    with pytest.raises(Problem) as raised:
        await cancel(Server(httpx.Response(404, content=content)))
    assert (raised.value.status, raised.value.code) == (404, "unknown")


async def test_an_api_that_is_away_is_asked_again_but_not_for_ever() -> None:
    server = Server(*[httpx.ConnectError("refused")] * transport.TRIES)
    with pytest.raises(GpkiUnavailable, match="ConnectError"):
        await cancel(server)
    assert len(server.asked) == transport.TRIES


async def test_the_wait_that_is_asked_for_is_kept_and_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    waited = []

    async def sleep(seconds: float) -> None:
        waited.append(seconds)

    monkeypatch.setattr("libs.gpki_client.transport.asyncio.sleep", sleep)
    again = [httpx.Response(503, headers={"Retry-After": value}) for value in ("2", "9999999", "soon", "-1")]
    await cancel(Server(*again, ACCEPTED))
    assert waited == [2.0, transport.MAX_WAIT, 0.0, 0.0]


@pytest.mark.parametrize(
    "answer", [{"state": 1}, [], "x", {"request_id": "x", "state": "requested", "seq": 1}, {"seq": True}]
)
async def test_an_answer_of_another_form_is_no_answer(answer: Any) -> None:
    async with client(Server(httpx.Response(200, json=answer))) as gpki:
        with pytest.raises(AnswerError):
            await gpki.status(uuid4(), USER)


async def test_what_an_answer_has_beside_what_we_know_is_ignored_and_new_values_are_kept() -> None:
    request = str(uuid4())
    dispatch = {
        "number": 1, "channel": "pigeon", "destination": "*", "reference_code": "AB", "new": {},
        "expires_at": "2026-11-23T16:00:00+08:00",
    }  # fmt: skip
    told = {"request_id": request, "state": "brand-new", "seq": 3, "dispatches": [dispatch], "medium": None, "new": [1]}
    async with client(Server(httpx.Response(200, json=told))) as gpki:
        status = await gpki.status(UUID(request), USER)
    assert (status.state, status.counts.posted, status.completed) == ("brand-new", 0, None)
    assert (status.dispatches[0].channel, status.dispatches[0].expires_at) == ("pigeon", EPOCH)


async def test_a_request_is_started_under_its_own_id_and_its_root_is_compared() -> None:
    asked = manifest()
    answer = {"request_id": str(asked.request_id), "root": asked.root.hex(), "status_url": "/v1/x"}
    server = Server(
        httpx.Response(503),
        httpx.Response(202, json=answer),
        httpx.Response(202, json=answer | {"root": "00" * 32}),
        httpx.Response(202, json=answer | {"request_id": str(uuid4())}),
    )
    async with client(server) as gpki:
        assert (await gpki.start(asked)).status_url == "/v1/x"
        for _ in range(2):
            with pytest.raises(AnswerError, match="another"):
                await gpki.start(asked)
    assert {request.headers["idempotency-key"] for request in server.asked} == {str(asked.request_id)}
    body = server.body()
    assert (body["manifest"], body["caller_key"]) == (asked.as_json(), KEY.key_id)
    PRIVATE.public_key().verify(base64.b64decode(body["signature"]), b"gpki.request-signature.v1" + asked.root)


async def test_pin_and_otp_go_sealed_to_the_judged_key_and_the_same_blob_is_sent_again(pki: Pki) -> None:
    identity = pki.sealing_key()
    key_id, request_id, root = public_key_id(identity.key.public_key()), uuid4(), bytes(range(32))
    chain = [identity.der, pki.sealing_authority.certificate.public_bytes(Encoding.DER)]
    offered = {"key_id": key_id, "chain": [base64.b64encode(der).decode() for der in chain]}
    accepted = httpx.Response(202, json={"attempt": "a1", "status_url": "/x"})
    server = Server(httpx.Response(200, json=offered), httpx.Response(503), accepted, accepted)
    async with client(server, pki.service_root.certificate.public_bytes(Encoding.PEM)) as gpki:
        assert (await gpki.authorise(request_id, USER, root=root, pin=PIN, otp=OTP)).attempt == "a1"
        await gpki.authorise(request_id, USER, root=root, pin=PIN, otp=OTP)
        with pytest.raises(SecretsError) as raised:
            await gpki.authorise(request_id, USER, root=root, pin=PIN, otp="48291x")
    assert "48291x" not in str(raised.value)
    assert [request.method for request in server.asked] == ["GET", "POST", "POST", "POST"], "the key is kept"
    assert server.body(1) == server.body(2) != server.body(3)
    assert not any(PIN.encode() in request.content or OTP.encode() in request.content for request in server.asked)
    sealed = base64.b64decode(server.body(2)["sealed"])
    info = sealing_info("authorisation", str(request_id), root, key_id)
    assert Secrets.decode(open_sealed(sealed, identity.key, info)) == Secrets(pin=PIN, otp=OTP)


async def test_the_other_calls_are_of_the_agreed_form() -> None:
    request_id, resend = uuid4(), uuid4()
    medium = {
        "user": USER,
        "medium": "token",
        "channels": ["e-mail"],
        "certificate": {"status": "good", "not_after": None},
    }
    server = Server(
        httpx.Response(202, json={"resend": str(resend), "status_url": "/x"}),
        httpx.Response(202, json={"accepted": 2, "status_url": "/x"}),
        httpx.Response(200, json=medium),
    )
    async with client(server) as gpki:
        assert await gpki.resend(request_id, USER, channel="e-mail") == resend
        assert server.body() == {"channel": "e-mail"}
        assert await gpki.token_signatures(request_id, USER, {"D1": b"1", "D2": b"2"}) == 2
        assert server.body() == {"signatures": [{"document": "D1", "cms": "MQ=="}, {"document": "D2", "cms": "Mg=="}]}
        assert (await gpki.medium(USER)).channels == ("e-mail",)
        for wrong in ({}, {str(number): b"" for number in range(501)}):
            with pytest.raises(ValueError, match="500"):
                await gpki.token_signatures(request_id, USER, wrong)
    paths = [request.url.path for request in server.asked]
    assert paths == [
        f"/v1/signings/{request_id}/otp-resends",
        f"/v1/signings/{request_id}/token-signatures",
        f"/v1/users/{USER}/medium",
    ]
    assert ["idempotency-key" in request.headers for request in server.asked] == [True, True, False]
