"""The API keeps to docs/openapi.yaml whatever is sent to it, made up by schemathesis from that document."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
import requests
import schemathesis
import yaml  # type: ignore[import-untyped]
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import GenerationMode, checks
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    missing_required_header,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from services.gateway import openapi
from services.gateway.problems import MEDIA_TYPE
from services.gateway.schemas import Problem
from tests.integration.gateway.conftest import Door
from tests.support.requests import key_state, new_user

EXAMPLES = 10
"""Calls per operation and kind of data: bounded, and the same ones in every run."""

CHECKS = [
    checks.not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    negative_data_rejection,
    missing_required_header,
]

pytestmark = pytest.mark.filterwarnings(
    # Cases are made in a thread; what draws at random meanwhile is aiokafka, in the loop's.
    "ignore:Do not use the `random` module:hypothesis.errors.HypothesisDeprecationWarning"
)

DOCUMENT: dict[str, Any] = yaml.load(openapi.FILE.read_text(encoding="utf-8"), yaml.CSafeLoader)
SCHEMA: Any = schemathesis.openapi.from_dict(DOCUMENT)
OPERATIONS = {operation.label: operation for operation in (found.ok() for found in SCHEMA.get_all_operations())}


def attack(
    door: Door, label: str, mode: GenerationMode, credential: Callable[[], str | None], **known: str
) -> set[int]:
    """Make calls of one operation, hold every answer against the document, and return their status codes.

    `known` are path parameters that lead to something.
    """
    seen: set[int] = set()
    operation = OPERATIONS[label]
    root, own = str(door.tls.root), str(door.tls.file(door.caller))
    with requests.Session() as session:
        session.trust_env = False

        @settings(
            max_examples=EXAMPLES,
            derandomize=True,
            database=None,
            deadline=None,
            phases=[Phase.generate],  # a failure says enough as it is; making it smaller takes a minute
            suppress_health_check=list(HealthCheck),
        )
        @given(case=operation.as_strategy(generation_mode=mode))
        def check(case: schemathesis.Case) -> None:
            if known:
                case.path_parameters = dict(known)
            token = credential()
            bearer = {} if token is None else {"Authorization": f"Bearer {token}"}
            answer = case.call(
                base_url=str(door.http.base_url), session=session, headers=bearer, timeout=10, verify=root, cert=own
            )
            case.validate_response(answer, checks=CHECKS)
            seen.add(answer.status_code)
            if answer.status_code >= 400:
                assert answer.headers["content-type"] == [MEDIA_TYPE]
                assert Problem.model_validate_json(answer.content).status == answer.status_code

        check()
    return seen


def test_every_operation_is_attacked() -> None:
    described = {f"{method.upper()} {path}" for path, methods in DOCUMENT["paths"].items() for method in methods}
    assert set(OPERATIONS) == described


@pytest.mark.parametrize("mode", GenerationMode)
@pytest.mark.parametrize("label", OPERATIONS)
async def test_with_a_good_credential(door: Door, label: str, mode: GenerationMode) -> None:
    user = new_user()
    await door.tell(key_state(door.pki.sealing_key(), "sealing", "sealing key", door.pki))
    seen = await asyncio.to_thread(attack, door, label, mode, lambda: door.token(user))
    assert seen
    # Bad data may be a bad credential, and a caller's is no device's.
    if mode is GenerationMode.POSITIVE and "/devices/" not in label:
        assert 401 not in seen


@pytest.mark.parametrize("label", OPERATIONS)
async def test_without_a_credential_nothing_is_answered(door: Door, label: str) -> None:
    for credential in (lambda: None, lambda: "e30.e30.e30"):
        seen = await asyncio.to_thread(attack, door, label, GenerationMode.POSITIVE, credential)
        assert seen <= {401, 400, 413}
        assert 401 in seen


@pytest.mark.parametrize("label", [label for label in OPERATIONS if "{request_id}" in label and "events" not in label])
async def test_of_a_request_that_is_ones_own(door: Door, label: str) -> None:
    event = await door.awaiting()
    head = event.signed.manifest.header
    seen = await asyncio.to_thread(
        attack,
        door,
        label,
        GenerationMode.POSITIVE,
        lambda: door.token(head.user),
        request_id=str(event.request_id),
    )
    # This request waits for PIN and OTP: signatures of a token are refused whatever they are.
    assert seen & ({409} if label.endswith("/token-signatures") else {200, 202})
    assert 404 not in seen
