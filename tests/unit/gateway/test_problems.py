"""Every error is a problem with a stable code and a text in both languages, and none repeats what was sent."""

import re
from typing import Annotated

import httpx
import pytest
from fastapi import Body, FastAPI, Header

from libs.bus.outcomes import Unavailable
from libs.contracts.problems import ProblemCode
from libs.contracts.reasons import Reason
from libs.contracts.texts import LANGUAGES, Language, _catalogue, problem_text
from libs.storage.errors import DatabaseUnavailable
from services.gateway.bodies import MAX_BODY
from services.gateway.edge import Edge
from services.gateway.problems import STATUS, ProblemError, answer_problems, details, language_of
from services.gateway.schemas import Authorisation, Problem

SECRETS = ("Rahsia123", "482913")


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_catalogue_holds_exactly_the_codes(language: Language) -> None:
    """A code that is a reason's has the reason's text, and no second one."""
    codes = {str(code) for code in ProblemCode}
    assert codes == set(STATUS)
    assert set(_catalogue(f"http.{language}")) == codes - set(Reason)


@pytest.mark.parametrize("code", ProblemCode)
def test_both_languages_say_what_happened_and_what_to_do(code: ProblemCode) -> None:
    for language, outcome in {"ms": r"andatangan|diambil", "en": r"signed|taken"}.items():
        assert language in LANGUAGES
        found = problem_text(code, language)
        assert re.search(outcome, found.detail)
        assert all(part.strip() and "{" not in part for part in (found.title, found.detail, found.next_step))


@pytest.mark.parametrize("code", ProblemCode)
@pytest.mark.parametrize("language", LANGUAGES)
def test_every_problem_says_to_a_machine_whether_anything_was_signed_or_posted(
    code: ProblemCode, language: Language
) -> None:
    """I-30."""
    found = details(code, language=language, trace_id="0" * 32)
    may_have_been = code in {ProblemCode.UNAVAILABLE, ProblemCode.INTERNAL_ERROR}
    assert (found.signed, found.posted) == ((None, None) if may_have_been else (False, False))
    assert not re.search(r"unknown error|ralat tidak diketahui", found.model_dump_json(), re.IGNORECASE)


@pytest.mark.parametrize(
    ("accepts", "language"),
    [
        ("", "ms"),
        ("en", "en"),
        ("en-GB,en;q=0.9", "en"),
        ("ms-MY,ms;q=0.9,en;q=0.8", "ms"),
        ("fr, en;q=0.5, ms;q=0.4", "en"),
        ("*", "ms"),
        ("zh", "ms"),
        ("en;q=x", "ms"),
        ("en;q=0", "ms"),
        ("," * 5000 + "en", "ms"),
    ],
)
def test_the_preferred_language_is_chosen_and_malay_is_the_default(accepts: str, language: str) -> None:
    assert language_of(accepts) == language


def application() -> FastAPI:
    """Small routes that fail in every way, behind the real edge."""
    app = FastAPI(openapi_url=None, redirect_slashes=False)
    app.add_middleware(Edge, service="gateway")
    answer_problems(app)
    failures = {
        "refused": ProblemError(ProblemCode.IDEMPOTENCY_KEY_REUSED),
        "broker": Unavailable("broker"),
        "database": DatabaseUnavailable(),
        "pool": TimeoutError(),
        "fault": ZeroDivisionError("482913 is the OTP"),
    }

    @app.get("/fail/{how}")
    async def fail(how: str) -> None:
        raise failures[how]

    @app.post("/take")
    async def take(body: Authorisation, idempotency_key: Annotated[str, Header(max_length=8)]) -> str:
        return f"{len(body.sealed)} {idempotency_key}"

    @app.post("/size")
    async def size(body: Annotated[bytes, Body()]) -> int:
        return len(body)

    return app


async def call(method: str, path: str, **options: object) -> httpx.Response:
    transport = httpx.ASGITransport(application())
    async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
        return await client.request(method, path, **options)  # type: ignore[arg-type]


def problem_of(answer: httpx.Response) -> Problem:
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["cache-control"] == "no-store"
    found = Problem.model_validate_json(answer.content)
    assert found.status == answer.status_code == STATUS[ProblemCode(found.code)]
    assert found.type == f"urn:gpki:problem:{found.code}"
    assert found.trace_id == answer.headers["trace-id"]
    return found


@pytest.mark.parametrize(
    ("how", "status", "code"),
    [
        ("refused", 409, "idempotency-key-reused"),
        ("broker", 503, "unavailable"),
        ("database", 503, "unavailable"),
        ("pool", 503, "unavailable"),
        ("fault", 500, "internal-error"),
    ],
)
async def test_every_failure_is_answered_as_a_problem_and_tells_nothing_of_the_inside(
    how: str, status: int, code: str
) -> None:
    answer = await call("GET", f"/fail/{how}", headers={"Accept-Language": "en"})
    found = problem_of(answer)
    assert (found.status, found.code, found.title) == (status, code, problem_text(code, "en").title)
    assert answer.headers["content-language"] == "en"
    assert ("retry-after" in answer.headers) == (status == 503)
    assert "482913" not in answer.text
    assert "Error" not in answer.text


async def test_unknown_addresses_and_methods_are_problems_too() -> None:
    assert problem_of(await call("GET", "/nowhere/482913")).code == "not-found"
    answer = await call("PUT", "/take")
    assert problem_of(answer).code == "method-not-allowed"
    assert answer.headers["allow"] == "POST"


BODIES = {
    "a field is missing": {"sealed": "Rahsia123", "pin": "Rahsia123"},
    "secrets under names of their own": {"Rahsia123": "482913", "482913": {"Rahsia123": ["482913"]}},
    "secrets in the wrong place": {"sealing_key_id": "Rahsia123", "sealed": "482913"},
    "nothing but a secret": "Rahsia123 482913",
    "a list": ["Rahsia123", "482913"],
}


@pytest.mark.parametrize("what", BODIES)
async def test_a_body_that_is_not_valid_is_never_echoed(what: str, capfd: pytest.CaptureFixture[str]) -> None:
    answer = await call("POST", "/take", json=BODIES[what], headers={"Idempotency-Key": "482913482913"})
    found = problem_of(answer)
    assert (found.status, found.code) == (422, "body-invalid")
    assert found.errors
    said = capfd.readouterr()
    for secret in SECRETS:
        assert secret not in answer.text + str(answer.headers) + said.out + said.err


async def test_the_faults_name_place_and_rule() -> None:
    answer = await call("POST", "/take", json={"sealing_key_id": "x", "otp": "482913"})
    assert {(fault.place, fault.rule) for fault in problem_of(answer).errors} == {
        ("body.sealing_key_id", "string_pattern_mismatch"),
        ("body.sealed", "missing"),
        ("body.(unknown name)", "extra_forbidden"),
        ("header.idempotency-key", "missing"),
    }


@pytest.mark.parametrize("content", [b'{"sealed": "Rahsia123', b"\xff\xfe", b"[" * 60_000, b"NaN{"])
async def test_what_is_no_json_is_malformed(content: bytes) -> None:
    answer = await call("POST", "/take", content=content, headers={"Content-Type": "application/json"})
    assert problem_of(answer).code == "malformed"
    assert "Rahsia123" not in answer.text


async def test_a_long_body_is_refused_whether_it_says_its_length_or_not() -> None:
    async def stream(size: int):
        for _ in range(size // 1024):
            yield b"x" * 1024

    octets = {"Content-Type": "application/octet-stream"}
    assert (await call("POST", "/size", content=b"x" * MAX_BODY, headers=octets)).json() == MAX_BODY
    assert (await call("POST", "/size", content=stream(MAX_BODY), headers=octets)).json() == MAX_BODY
    for content in (b"x" * (MAX_BODY + 1), stream(MAX_BODY + 1024)):
        answer = await call("POST", "/size", content=content, headers=octets)
        assert problem_of(answer).code == "too-large"
    answer = await call("POST", "/size", content=b"x", headers={**octets, "Content-Length": "9" * 40})
    assert problem_of(answer).code == "too-large"


async def test_the_trace_of_the_caller_goes_on_and_a_strange_one_is_replaced() -> None:
    trace = "0af7651916cd43dd8448eb211c80319c"
    answer = await call("GET", "/nowhere", headers={"traceparent": f"00-{trace}-b7ad6b7169203331-01"})
    assert problem_of(answer).trace_id == trace
    for strange in ("", "482913", f"00-{'0' * 32}-b7ad6b7169203331-01", f"00-{trace.upper()}-b7ad6b7169203331-01"):
        found = problem_of(await call("GET", "/nowhere", headers={"traceparent": strange}))
        assert re.fullmatch("[0-9a-f]{32}", found.trace_id)
        assert found.trace_id != trace
