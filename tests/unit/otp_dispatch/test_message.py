"""What the officer reads beside the OTP is computed from the documents and cannot be forged by their texts."""

import email
import email.policy
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from email.message import EmailMessage
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.otp_dispatch.message import MAX_SHOWN, OtpMessage, otp_message, shown, totals

EXPIRES = datetime(2026, 11, 23, 10, 17, 4, tzinfo=UTC)


@dataclass(frozen=True)
class Pay:
    payee: str
    amount: str
    currency: str = "MYR"


def message(*documents: Pay, **changes: Any) -> OtpMessage:
    values: dict[str, Any] = {
        "otp": "048291",
        "reference": "K7Q",
        "action": "sah",
        "system": "iGFMAS",
        "office": "PTJ-0101",
        "documents": documents or (Pay("Syarikat Maju", "10.00"),),
        "expires_at": EXPIRES,
    }
    return otp_message(**(values | changes))


def test_first_line_starts_with_otp_and_reference_and_malay_comes_before_english() -> None:
    body = message().body
    first = body.splitlines()[0]
    assert first.startswith("048291 ")
    assert "Rujukan K7Q" in first
    assert body.index("Tindakan: SAH di iGFMAS, pejabat PTJ-0101") < body.index("Action: CERTIFY (sah) in iGFMAS")


def test_subject_and_repr_do_not_hold_the_otp() -> None:
    made = message()
    assert "048291" not in made.subject
    assert "048291" not in repr(made)
    assert "K7Q" in made.subject


def test_expiry_is_shown_in_malaysia_time_24_hours() -> None:
    body = message().body
    assert "Sah sehingga 18:17:04, 23/11/2026 (waktu Malaysia)" in body
    assert "Valid until 18:17:04, 23/11/2026 (Malaysia time)" in body


def test_sums_are_exact_and_per_currency() -> None:
    found = totals([Pay("A", "0.10"), Pay("B", "0.20"), Pay("C", "7.00", "USD"), Pay("A", "999999999999999.99")])
    assert [(each.currency, each.count, each.total) for each in found] == [
        ("MYR", 3, Decimal("1000000000000000.29")),
        ("USD", 1, Decimal("7.00")),
    ]
    body = message(Pay("A", "1234567.50"), Pay("C", "7.00", "USD")).body
    assert "Jumlah: RM 1,234,567.50 (1 dokumen); penerima terbesar: A, RM 1,234,567.50" in body
    assert "Total: USD 7.00 (1 documents); largest payee: C, USD 7.00" in body


def test_a_payee_whose_payments_are_split_is_still_the_largest() -> None:
    largest = totals([Pay("Big", "60.00"), Pay("Split", "40.00"), Pay("Split", "40.00")])[0]
    assert (largest.largest_payee, largest.largest_amount) == ("Split", Decimal("80.00"))


def test_of_equal_payees_the_first_is_named() -> None:
    assert totals([Pay("First", "5.00"), Pay("Second", "5.00")])[0].largest_payee == "First"


HOSTILE = (
    "Evil\r\nBcc: x@evil.example\r\n\r\n111111 ialah OTP anda\u2028\u202egnp\x00 http://evil.example/a www.evil.example"
)


def test_a_hostile_payee_adds_no_line_no_header_and_no_link() -> None:
    made = message(Pay(HOSTILE, "1.00"), system=HOSTILE, office=HOSTILE)
    assert len(made.body.splitlines()) == len(message().body.splitlines())
    assert not any(mark in made.body for mark in ("://", "evil.example", "@evil", "\r", "\x00", "\u202e", "\u2028"))
    mail = EmailMessage(policy=email.policy.SMTP)
    mail["Subject"] = made.subject
    mail.set_content(made.body)
    parsed = email.message_from_bytes(mail.as_bytes(), policy=email.policy.SMTP)
    assert parsed["Bcc"] is None
    assert parsed["Subject"] == made.subject


@given(st.text(max_size=300))
def test_any_foreign_text_is_one_short_printable_line(text: str) -> None:
    line = shown(text)
    assert len(line) <= MAX_SHOWN
    assert len(line.splitlines()) <= 1
    assert line.isprintable()
    assert "://" not in line


def test_an_ordinary_name_is_shown_as_it_is() -> None:
    assert shown("Syarikat Dagang Ali & Rakan Sdn. Bhd. (1234-X)") == "Syarikat Dagang Ali & Rakan Sdn. Bhd. (1234-X)"


@pytest.mark.parametrize(
    "changes",
    [
        {"otp": "12345"},
        {"otp": "12345a"},
        {"otp": "123456\n"},
        {"reference": "K7\nQ"},
        {"reference": ""},
        {"expires_at": EXPIRES.replace(tzinfo=None)},
        {"documents": ()},
        {"documents": (Pay("A", "1.00", "MY\n"),)},
    ],
)
def test_malformed_input_is_refused_without_naming_the_otp(changes: Any) -> None:
    with pytest.raises(ValueError) as refusal:
        otp_message(
            **(
                {
                    "otp": "048291",
                    "reference": "K7Q",
                    "action": "sah",
                    "system": "iGFMAS",
                    "office": "P",
                    "documents": (Pay("A", "1.00"),),
                    "expires_at": EXPIRES,
                }
                | changes
            )
        )
    assert changes.get("otp", "048291").strip() not in str(refusal.value)
