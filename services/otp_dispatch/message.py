"""The message that carries the OTP: the one display of a request that neither page nor iGFMAS can alter."""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Final, Literal, Protocol
from zoneinfo import ZoneInfo

MALAYSIA: Final = ZoneInfo("Asia/Kuala_Lumpur")

MAX_SHOWN: Final = 80
"""Characters of a foreign text (payee, system, office) that are shown."""

_ACTIONS: Final = {"sah": ("SAH", "CERTIFY (sah)"), "peraku": ("PERAKU", "APPROVE (peraku)")}
_OTP: Final = re.compile(r"[0-9]{6}")
_REFERENCE: Final = re.compile(r"[0-9A-Z]{3,8}")
_CURRENCY: Final = re.compile(r"[A-Z]{3}")


class Payment(Protocol):
    """What the message needs of a document; `amount` is a decimal text with two places."""

    @property
    def payee(self) -> str: ...
    @property
    def amount(self) -> str: ...
    @property
    def currency(self) -> str: ...


@dataclass(frozen=True, slots=True)
class CurrencyTotal:
    """Of one currency: number and sum of the documents, and the payee who gets the most of it in total."""

    currency: str
    count: int
    total: Decimal
    largest_payee: str
    largest_amount: Decimal


@dataclass(frozen=True, slots=True)
class OtpMessage:
    """A subject without, and a plain-text body with the OTP."""

    subject: str
    body: str = field(repr=False)


def totals(documents: Sequence[Payment]) -> list[CurrencyTotal]:
    """One total per currency, in the order of the currencies' first document; sums are exact.

    Payments to one payee are added up, so that splitting them hides nothing; of equal payees the first is named.
    """
    per_currency: dict[str, dict[str, Decimal]] = {}
    counts: dict[str, int] = {}
    for document in documents:
        payees = per_currency.setdefault(document.currency, {})
        payees[document.payee] = payees.get(document.payee, Decimal(0)) + Decimal(document.amount)
        counts[document.currency] = counts.get(document.currency, 0) + 1
    return [
        CurrencyTotal(currency, counts[currency], sum(payees.values(), Decimal(0)), payee, payees[payee])
        for currency, payees in per_currency.items()
        for payee in [max(payees, key=payees.__getitem__)]
    ]


def otp_message(
    *,
    otp: str,
    reference: str,
    action: Literal["sah", "peraku"],
    system: str,
    office: str,
    documents: Sequence[Payment],
    expires_at: datetime,
) -> OtpMessage:
    """The message in Malay, then English. The body's first line starts with the OTP and its reference code.

    `expires_at` is aware and is shown in Malaysia time, 24 hours. No line but ours, no link, no control character,
    whatever payee, system and office contain. Raises ValueError (without the OTP) for a malformed OTP, reference
    code, currency or time, and for no documents.
    """
    if not _OTP.fullmatch(otp) or not _REFERENCE.fullmatch(reference):
        raise ValueError("malformed OTP or reference code")
    if expires_at.tzinfo is None or not documents:
        raise ValueError("needs an aware time and at least one document")
    sums = totals(documents)
    if not all(_CURRENCY.fullmatch(each.currency) for each in sums):
        raise ValueError("malformed currency")
    malay, english = _ACTIONS[action]
    until = expires_at.astimezone(MALAYSIA).strftime("%H:%M:%S, %d/%m/%Y")
    asker, place = shown(system), shown(office)
    lines = [
        f"{otp} ialah OTP anda. Rujukan {reference}.",
        "",
        f"Tindakan: {malay} di {asker}, pejabat {place}",
        f"Bilangan dokumen: {len(documents)}",
        *(_sum_line(each, "Jumlah", "dokumen", "penerima terbesar") for each in sums),
        f"Sah sehingga {until} (waktu Malaysia).",
        f"Masukkan OTP hanya jika butiran di atas dan rujukan {reference} sama dengan skrin anda.",
        "Bukan anda? Jangan masukkan atau beritahu OTP ini kepada sesiapa, dan hubungi AP anda segera.",
        "",
        "-- English --",
        "",
        f"{otp} is your OTP. Reference {reference}.",
        "",
        f"Action: {english} in {asker}, office {place}",
        f"Number of documents: {len(documents)}",
        *(_sum_line(each, "Total", "documents", "largest payee") for each in sums),
        f"Valid until {until} (Malaysia time).",
        f"Enter the OTP only if the details above and the reference {reference} are the same on your screen.",
        "Not you? Do not enter this OTP or tell it to anyone, and contact your AP at once.",
    ]
    return OtpMessage(subject=f"GPKI: OTP, rujukan {reference} / reference {reference}", body="\n".join(lines) + "\n")


def shown(foreign: str) -> str:
    """A foreign text as one short line that no mail program reads as a header, a new line or a link.

    Control, format (also bidirectional) and unassigned characters become spaces; what would be a link is taken
    apart by spaces; more than MAX_SHOWN characters are cut, visibly.
    """
    plain = "".join(" " if unicodedata.category(char)[0] in "CZ" else char for char in foreign)
    plain = re.sub(r"(?<=[:/])/|(?<=\w)@(?=\w)", lambda match: f" {match[0]} ", plain)
    plain = re.sub(r"(?<=\w)\.(?=[^\W\d])", ". ", plain)  # "evil.example" is a link to many programs
    plain = " ".join(plain.split())
    return plain if len(plain) <= MAX_SHOWN else plain[: MAX_SHOWN - 1] + "…"


def _sum_line(each: CurrencyTotal, total: str, documents: str, largest: str) -> str:
    return (
        f"{total}: {_money(each.currency, each.total)} ({each.count} {documents}); "
        f"{largest}: {shown(each.largest_payee)}, {_money(each.currency, each.largest_amount)}"
    )


def _money(currency: str, amount: Decimal) -> str:
    return f"{'RM' if currency == 'MYR' else currency} {amount:,.2f}"
