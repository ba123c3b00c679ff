"""One day of one caller, for it to compare with its own ledger: CSV (RFC 4180) and a summary beside it. Pure.

A document stands in the file of the day on which its request was completed, in Kuala Lumpur: `completed` is what the
caller acts on. The same rows make the same bytes.
"""

import csv
import hashlib
import io
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from datetime import date, datetime
from decimal import Decimal
from typing import Final

from pydantic_core import from_json

from libs.contracts.manifest import Header
from libs.contracts.record import record_id_of
from services.monitor.facts import KUALA_LUMPUR
from services.monitor.store import RequestOfDay

FORMAT: Final = "gpki.daily-file.v1"

COLUMNS: Final = (
    "request_id",
    "caller",
    "caller_request",
    "system",
    "office",
    "user",
    "action",
    "document_id",
    "amount",
    "currency",
    "outcome",
    "posted_at",
    "record_id",
    "stage",
    "reason",
    "completed_at",
)
"""Of a document that was refused before its manifest was known, amount and currency are empty; of a request that was
refused so, there is one line, and its document is empty too."""


class IncompleteError(Exception):
    """`completed` says that something was posted of which `posted` was not read: the day's file must wait for that."""


class DailyFile:
    """The bytes of one day's file of one caller, request by request, and what they come to."""

    def __init__(self, day: date, caller: str) -> None:
        self._day = day
        self._caller = caller
        self._hash = hashlib.sha256()
        self._counts: Counter[str] = Counter()
        self._totals: dict[str, Decimal] = {}

    @property
    def name(self) -> str:
        """The file's name."""
        return f"{self._caller}-{self._day.isoformat()}.csv"

    @property
    def sha256(self) -> bytes:
        """Of all bytes so far."""
        return self._hash.digest()

    def head(self) -> bytes:
        """The line of the columns' names."""
        return self._bytes([COLUMNS])

    def lines(self, request: RequestOfDay, header: Header, posted: Mapping[str, datetime]) -> bytes:
        """The lines of a request, whose header says that it is this caller's. Raises IncompleteError."""
        if len(posted) != request.posted:
            raise IncompleteError(f"{request.request_id}: {request.posted} completed as posted, {len(posted)} posted")
        self._counts["requests"] += 1
        return self._bytes(self._rows(request, header, posted))

    def summary(self) -> bytes:
        """What the file must come to: whoever has fetched it counts again."""
        told = {
            "format": FORMAT,
            "file": self.name,
            "sha256": self.sha256.hex(),
            "day": self._day.isoformat(),
            "time_zone": str(KUALA_LUMPUR),
            "caller": self._caller,
            **{name: self._counts[name] for name in ("requests", "lines", "posted", "rejected")},
            "posted_total": {currency: str(self._totals[currency]) for currency in sorted(self._totals)},
        }
        return (json.dumps(told, indent=2) + "\n").encode()

    def _rows(self, request: RequestOfDay, header: Header, posted: Mapping[str, datetime]) -> Iterator[tuple[str, ...]]:
        of_request = (
            str(request.request_id),
            header.caller,
            header.request,
            header.system,
            header.office,
            header.user,
            header.action,
        )
        completed = _time(request.completed_at)
        refused, rest = _refusals(request)
        for document_id, amount, currency in _documents(request, {*posted, *refused}):
            if document_id in posted:
                self._counts["posted"] += 1
                self._totals[currency] = self._totals.get(currency, Decimal(0)) + Decimal(amount or 0)
                record = str(record_id_of(request.request_id, document_id))
                outcome: tuple[str, ...] = ("posted", _time(posted[document_id]), record, "", "")
            else:
                self._counts["rejected"] += 1
                outcome = ("rejected", "", "", *refused.get(document_id, rest))
            yield (*of_request, document_id, amount, currency, *outcome, completed)

    def _bytes(self, rows: Iterable[tuple[str, ...]]) -> bytes:
        text = io.StringIO(newline="")
        writer = csv.writer(text, lineterminator="\r\n")
        for row in rows:
            writer.writerow(row)
            self._counts["lines"] += row is not COLUMNS
        made = text.getvalue().encode()
        self._hash.update(made)
        return made


def _documents(request: RequestOfDay, named: Iterable[str]) -> list[tuple[str, str, str]]:
    """In the manifest's order; where that is not known, those that are named, or one without a name for all."""
    if request.documents is not None:
        return [(each[0], each[1], each[2]) for each in from_json(request.documents)]
    return [(name, "", "") for name in sorted(named)] or [("", "", "")]


def _refusals(request: RequestOfDay) -> tuple[dict[str, tuple[str, str]], tuple[str, str]]:
    """Stage and reason of documents that are named, and of all that are left."""
    named: dict[str, tuple[str, str]] = {}
    rest = ("", "")
    for documents, stage, reason in from_json(request.refusals):
        if documents is None:
            rest = (stage, reason)
        else:
            named |= dict.fromkeys(documents, (stage, reason))
    return named, rest


def _time(moment: datetime) -> str:
    """ISO 8601 with Kuala Lumpur's offset, in microseconds."""
    return moment.astimezone(KUALA_LUMPUR).isoformat(timespec="microseconds")
