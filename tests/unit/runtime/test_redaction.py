"""Secrets go, what an operator needs stays, and nothing grows without bound."""

import time
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.contracts.reasons import Reason
from libs.runtime.redaction import (
    MAX_ITEMS,
    MAX_TEXT,
    is_secret_name,
    scrub,
    scrub_exception,
    scrub_mapping,
    scrub_text,
)


@pytest.mark.parametrize(
    "name",
    ["pin", "PIN", "userPin", "otp", "otp_value", "OTPCode", "code", "X-Authorization", "sealed_blob", "api_key"],
)
def test_secret_names(name: str) -> None:
    assert is_secret_name(name)


@pytest.mark.parametrize("name", ["shipping", "opinion", "reason_code", "status_code", "key", "stopped", "credential"])
def test_harmless_names(name: str) -> None:
    assert not is_secret_name(name)


@pytest.mark.parametrize(
    "text",
    [
        "shipping=foo 12345",
        "status_code=503",
        "amount 184220.50 of document V-2026-000123",
        "partition 3 offset 482913",
        *(f"rejected {reason}" for reason in Reason),
    ],
)
def test_texts_without_secrets_stay_as_they_are(text: str) -> None:
    assert scrub_text(text) == text


def test_values_that_operators_need_stay() -> None:
    moment = datetime(2026, 11, 23, tzinfo=UTC)
    request = UUID(int=7)
    kept: dict[object, object] = {
        "request_id": request,
        "at": moment,
        "amount": Decimal("10.50"),
        "reason": Reason.CRL_STALE,
        "count": 3,
        "place": Path("a/b"),
        "pin_locked": True,
        "otp": None,
    }
    assert scrub_mapping(kept) == {
        "request_id": str(request),
        "at": str(moment),
        "amount": "10.50",
        "reason": "crl-stale",
        "count": 3,
        "place": "a/b",
        "pin_locked": True,
        "otp": None,
    }


def test_an_unknown_type_gives_its_name_only() -> None:
    assert scrub(object()) == "[object]"


def test_texts_collections_nesting_and_exceptions_are_bounded() -> None:
    assert len(scrub_text("x" * 1_000_000)) < MAX_TEXT + 50
    assert scrub(list(range(10_000))) == [*range(MAX_ITEMS), "… (10000 items)"]
    assert len(scrub_mapping({str(number): number for number in range(10_000)})) == MAX_ITEMS + 1
    nested: list[object] = []
    nested.append(nested)
    assert "[list]" in str(scrub(nested))
    assert len(scrub_exception(ValueError("y" * 1_000_000))) < 10_000


@pytest.mark.parametrize("unit", ["pin: ", "pin='", 'pin."', "a_", "otp a b ", "input_value=", "Key ()=(", '"', "a-"])
def test_a_hostile_text_costs_little(unit: str) -> None:
    start = time.thread_time()
    scrub_text(unit * 20_000)
    assert time.thread_time() - start < 1.5  # 8,000 characters of it; a quadratic expression took 3 s


@given(st.text(), st.sampled_from(["pin", "otp", "password", "token"]), st.sampled_from(["=", ": ", '":"', " = "]))
def test_an_assigned_word_never_stays(around: str, name: str, sign: str) -> None:
    assert "QZX77193" not in scrub_text(f"{around[:100]} {name}{sign}QZX77193")
