"""What is no request is refused with its own code, says where and which rule, and never repeats what was sent."""

import json
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import uuid4

import pytest

from libs.contracts.manifest import MAX_DOCUMENTS
from libs.contracts.problems import ProblemCode
from libs.contracts.signing import Requested
from services.gateway.schemas import Fault, Problem
from tests.integration.gateway.conftest import Door, code_of
from tests.support.requests import document, documents, header, new_user, requested

PIN, OTP = "Rahsia123", "482913"


def request(door: Door, listed: Sequence[Mapping[str, str]] | None = None, /, **values: str) -> Requested:
    """One that is rightly signed, whatever stands in it."""
    listed = documents(1) if listed is None else listed
    return requested(header(new_user(), len(listed), **values), listed, door.caller)


def faults_of(answer: Any) -> set[tuple[str, str]]:
    found: tuple[Fault, ...] = Problem.model_validate_json(answer.content).errors
    return {(fault.place, fault.rule) for fault in found}


def twice(body: bytes, name: str) -> bytes:
    """The same body, where `name` stands twice with one value."""
    first = body.index(b'"%s":' % name.encode())
    return body[:first] + b'"%s":"x",' % name.encode() + body[first:]


@pytest.mark.parametrize("name", ["manifest", "header", "caller", "amount", "signature"])
async def test_a_name_that_stands_twice_is_refused(door: Door, name: str) -> None:
    event = request(door)
    body = twice(event.model_dump_json().encode(), name)
    answer = await door.start(event, uuid4().hex, content=body)
    assert (answer.status_code, code_of(answer)) == (400, ProblemCode.MALFORMED)
    assert faults_of(answer) == {("body", "duplicate name")}


@pytest.mark.parametrize(
    ("rule", "content"),
    [
        ("not UTF-8", b'{"manifest": "\xff\xfe Rahsia123"}'),
        ("not UTF-8", '{"manifest": "Rahsia123"}'.encode("utf-16")),
        ("not JSON", b""),
        ("not JSON", b'{"manifest": "Rahsia123'),
        ("not JSON", "\ufeff{}".encode()),
        ("lone surrogate", b'{"manifest": "\\ud800 Rahsia123"}'),
        ("NaN or Infinity", b'{"manifest": NaN}'),
        ("nested too deep", b"[" * 60_000),
    ],
)
async def test_what_is_no_strict_json_is_malformed(door: Door, rule: str, content: bytes) -> None:
    answer = await door.start(request(door), uuid4().hex, content=content)
    assert (answer.status_code, code_of(answer)) == (400, ProblemCode.MALFORMED)
    assert faults_of(answer) == {("body", rule)}
    assert PIN not in answer.text


@pytest.mark.parametrize(
    ("change", "place", "rule"),
    [
        ({"manifest": None}, "body.manifest", "model_type"),
        ({"caller_key": "x"}, "body.caller_key", "string_pattern_mismatch"),
        ({"signature": "#"}, "body.signature", "value_error"),
        ({"signature": ""}, "body.signature", "too_short"),
        ({"pin": "1"}, "body.(unknown name)", "extra_forbidden"),
        ({"manifest": {"header": {}, "documents": [], "x": 1}}, "body.manifest.(unknown name)", "extra_forbidden"),
        ({"manifest": {"header": {"count": 1}, "documents": []}}, "body.manifest.header.count", "string_type"),
    ],
    ids=str,
)
async def test_a_body_of_another_shape_is_refused_with_place_and_rule(
    door: Door, change: dict[str, Any], place: str, rule: str
) -> None:
    event = request(door)
    body = json.loads(event.model_dump_json()) | change
    answer = await door.start(event, uuid4().hex, content=json.dumps(body).encode())
    assert (answer.status_code, code_of(answer)) == (422, ProblemCode.BODY_INVALID)
    assert (place, rule) in faults_of(answer)


@pytest.mark.parametrize(
    ("head", "listed", "code", "fault"),
    [
        ({"count": "2"}, [document(1)], ProblemCode.MANIFEST_INVALID, ("body.manifest.", "value_error")),
        ({}, [], ProblemCode.MANIFEST_INVALID, ("body.manifest.documents", "too_short")),
        (
            {},
            [document(1, amount="-1.50")],
            ProblemCode.MANIFEST_INVALID,
            ("body.manifest.documents.0.amount", "string_pattern_mismatch"),
        ),
        (
            {},
            [document(1), document(2, sha256="ab" * 31)],
            ProblemCode.MANIFEST_INVALID,
            ("body.manifest.documents.1.sha256", "string_pattern_mismatch"),
        ),
        ({}, [document(1), document(1)], ProblemCode.DOCUMENT_DUPLICATE, None),
        ({}, documents(MAX_DOCUMENTS + 1), ProblemCode.TOO_MANY_DOCUMENTS, None),
        ({"request": ""}, [document(1)], ProblemCode.MANIFEST_INVALID, None),
    ],
    ids=["count", "empty", "negative amount", "short digest", "duplicate id", "10,001", "no id"],
)
async def test_a_manifest_outside_its_contract_is_refused_with_its_own_code_and_is_no_request(
    door: Door,
    head: dict[str, str],
    listed: list[dict[str, str]],
    code: ProblemCode,
    fault: tuple[str, str] | None,
) -> None:
    event = request(door, listed, **head)
    answer = await door.start(event, uuid4().hex)
    assert (answer.status_code, code_of(answer)) == (422, code)
    if fault is not None:
        assert fault in faults_of(answer)
    await door.tap.read()
    values = [record.value or b"" for record in door.tap.of(door.routes.requested)]
    assert not any(event.manifest.header["user"].encode() in value for value in values)


def canaries(event: Requested) -> list[Any]:
    """A rightly signed body, and secrets as every name and every value of it, and around it."""
    whole = json.loads(event.model_dump_json())
    found: list[Any] = [PIN, [PIN, OTP], {PIN: OTP}, whole | {PIN: OTP}, whole | {"pin": PIN, "otp": OTP}]

    def spoil(value: Any) -> Any:
        """Every way to put a secret in place of one part."""
        yield PIN
        yield {PIN: OTP}
        if isinstance(value, dict):
            yield value | {PIN: OTP}
            for name, part in value.items():
                yield {PIN if each == name else each: kept for each, kept in value.items()}
                yield from (value | {name: spoilt} for spoilt in spoil(part))
        elif isinstance(value, list):
            yield [*value, OTP]
            yield from ([spoilt, *value[1:]] for spoilt in spoil(value[0]))

    return [*found, *spoil(whole)]


async def test_no_answer_log_or_event_repeats_a_secret_that_was_put_in_the_wrong_place(
    door: Door, capfd: pytest.CaptureFixture[str]
) -> None:
    """I-30."""
    event = request(door)
    bodies = canaries(event)
    assert len(bodies) > 60
    for body in bodies:
        answer = await door.start(event, uuid4().hex, content=json.dumps(body).encode())
        assert answer.status_code in {403, 422}, answer.text
        said = capfd.readouterr()
        for secret in (PIN, OTP):
            assert secret not in answer.text + str(answer.headers) + said.out + said.err
    resigned = [request(door, [document(1, **{name: PIN})]) for name in ("id", "amount", "sha256", PIN, "currency")]
    resigned += [request(door, **{name: PIN}) for name in ("system", "action", "count", PIN)]
    for one in resigned:
        answer = await door.start(one, uuid4().hex)
        if answer.status_code != 202:  # as a document's id it may stand in an event: it is no secret there
            said = capfd.readouterr()
            assert PIN not in answer.text + str(answer.headers) + said.out + said.err
    for path in (f"/v1/users/{PIN}/medium", f"/v1/signings/{PIN}", f"/v1/{PIN}"):
        answer = await door.get(path, door.token(new_user()))
        assert answer.status_code in {404, 422}
        said = capfd.readouterr()
        assert PIN not in answer.text + str(answer.headers) + said.out + said.err
