"""Does what was told agree with what is kept? The topics' word against posting's records and signing log. Pure.

A record that was changed, removed or moved is told by its leaf in the log, and for 14 days by `posted` on its topic.
Who rewrites record and leaf alike, or the whole log, cannot sign it again: each signed checkpoint of an earlier size
is held against the tree of so many leaves, and the first that differs tells between which positions it was done.
The newest that monitor has countersigned is on its topic for ever, where posting's database does not reach.
"""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final, TypeAlias
from uuid import UUID

from libs.crypto.merkle import Frontier, leaf_hash
from services.operations.standing import duration

Key: TypeAlias = "tuple[UUID, str]"
"""A document of a request."""

NAMED: Final = 20
"""Of one kind of finding, so many are named."""

MOMENT: Final = timedelta(minutes=1)
"""What is younger may be under way between a record and its topic."""

TOKENS_TAKE: Final = 2
"""Times as long: what a token signs last is answered by its request's end, 5 minutes later."""

MAX_GAP: Final = 1_000_000
"""Positions that one gap may take the place of: a row may say that it is at 2^60."""

ALWAYS: Final = datetime.min.replace(tzinfo=UTC)

ALL: Final = "*"
"""posting's name for all documents of a request that have no outcome of their own."""


@dataclass(frozen=True)
class Told:
    """What `posted` said of a document."""

    record_id: UUID
    position: int
    leaf: bytes


@dataclass(frozen=True)
class Signed:
    """What somebody has said of the log's first `size` positions, and proved it by a signature or by having asked."""

    size: int
    root: bytes
    by: str


@dataclass
class Topics:
    """What the topics say, as they ended at one moment; of what is older than `…_since` retention has deleted some."""

    at: datetime
    signed_since: datetime = ALWAYS
    posted_since: datetime = ALWAYS
    signed: dict[Key, datetime] = field(default_factory=dict)
    token_signed: dict[Key, datetime] = field(default_factory=dict)
    posted: dict[Key, Told] = field(default_factory=dict)
    rejected: set[Key] = field(default_factory=set)
    notes: list[str] = field(default_factory=list)
    """On the topic of countersigned checkpoints, as they stand there."""
    countersigned: list[Signed] = field(default_factory=list)
    unsigned: int = 0
    """Notes on the topic of countersigned checkpoints that log and witness have not both signed."""


@dataclass(frozen=True)
class Kept:
    """A checkpoint in posting's table; `signed` is whether the log's key has signed just this."""

    size: int
    previous: int
    root: bytes
    signed: bool


@dataclass(frozen=True)
class Row:
    """One position of the signing log beside its record; one of the two may be missing."""

    position: int | None
    leaf: bytes | None
    record_id: UUID
    record: Mapping[str, Any] | None
    """posting's columns; `value` is the record itself."""


class Audit:
    """Takes the rows in the order of their positions, and then says what does not agree.

    `known` are sizes and roots that earlier audits printed.
    """

    def __init__(
        self,
        topics: Topics,
        refused: set[Key],
        *,
        late: timedelta,
        checkpoints: Sequence[Kept] = (),
        known: Sequence[Signed] = (),
    ) -> None:
        self._topics = topics
        self._refused = refused | topics.rejected
        self._late = late
        self._found: dict[str, list[str]] = {}
        self._log = Frontier()
        self._proven = 0
        """The log begins as it was signed, up to this size."""
        self._said: dict[int, list[Signed]] = {}
        self._countersigned = max((one.size for one in topics.countersigned), default=0)
        self._expect(checkpoints, known)
        self._recorded: set[Key] = set()
        self._under_way: list[timedelta] = []
        self._counts: Counter[str] = Counter()
        self.beginnings: Sequence[str] = ()

    def take(self, row: Row) -> None:
        """Judge the next row."""
        where = "not in the signing log" if row.position is None else f"position {row.position}"
        if row.position is not None and row.leaf is not None:
            if (gap := row.position - self._log.size) > 0:
                first, last = self._log.size, row.position - 1
                self._say("gaps in the signing log", f"positions {first} to {last}" if gap > 1 else f"position {first}")
                for _ in range(min(gap, MAX_GAP)):
                    self._append(b"")  # what follows keeps its place
            self._append(row.leaf)
        if row.record is None:
            self._say("positions whose record is gone", f"{where}: record {row.record_id}")
            return
        key = row.record["request_id"], row.record["document_id"]
        named = f"{where}: request {key[0]}, document {key[1]}"
        self._counts["records"] += 1
        self._recorded.add(key)
        if row.position is None:
            self._say("records that are not in the signing log", named)
        elif leaf_hash(row.record["value"]) != row.leaf:
            self._say("records that are not what was logged", named)
        if (wrong := _differing(row.record, row.record_id)) is not None:
            self._say("records whose columns are not the record's own", f"{named}: {wrong}")
        self._compare(key, row, named)

    def _compare(self, key: Key, row: Row, named: str) -> None:
        """With what the topics said of it."""
        assert row.record is not None
        told, at, signed_at = self._topics.posted.get(key), row.record["posted_at"], _signed_at(row.record)
        if told is None:
            if self._topics.posted_since < at < self._topics.at - MOMENT:
                self._say("records of which `posted` never told", named)
        elif told != Told(row.record_id, -1 if row.position is None else row.position, row.leaf or b""):
            self._say("records that `posted` told otherwise", f"{named}; told was position {told.position}")
        expected = signed_at is None or self._topics.signed_since < signed_at < self._topics.at - MOMENT
        if expected and key not in self._topics.signed and key not in self._topics.token_signed:
            self._say("posted and never signed", f"{named}: posted {duration(self._topics.at - at)} ago, {at:%F %T}Z")

    def end(self) -> None:
        """After the last row: what has none."""
        for (request_id, document_id), told in self._topics.posted.items():
            if (request_id, document_id) not in self._recorded:
                where = f"position {told.position}: request {request_id}, document {document_id}"
                self._say("posted, and there is no record", where)
        self._unanswered(self._topics.signed, self._late)
        self._unanswered(self._topics.token_signed, TOKENS_TAKE * self._late)
        for size in sorted(self._said):
            if size > self._log.size:
                by = ", ".join(sorted({one.by for one in self._said[size]}))
                self._say("the signing log is shorter than it was", f"{self._log.size} positions; {by}: {size}")

    def _unanswered(self, signed: Mapping[Key, datetime], late: timedelta) -> None:
        for key, at in signed.items():
            (request_id, document_id), age = key, self._topics.at - at
            ended = key in self._recorded or key in self._topics.posted or key in self._refused
            if ended or (request_id, ALL) in self._refused:
                continue
            if age > late:
                what = f"request {request_id}, document {document_id}: signed {duration(age)} ago, {at:%F %T}Z"
                self._say("signed, and neither posted nor rejected", what)
            else:
                self._under_way.append(age)

    def _expect(self, checkpoints: Sequence[Kept], known: Sequence[Signed]) -> None:
        """What was said of the log, which its leaves must make true; and whether all that was signed is still there."""
        before = 0
        for one in checkpoints:
            if not one.signed:
                self._say("checkpoints that the log's key has not signed", f"size {one.size}")
            if one.previous != before:
                self._say("checkpoints that are gone", f"between sizes {before} and {one.size}")
            before = one.size
        if before < self._countersigned:
            self._say("checkpoints that are gone", f"from size {before} to {self._countersigned}, as countersigned")
        if self._topics.unsigned:
            self._say("countersigned checkpoints that log and witness have not signed", f"{self._topics.unsigned}")
        signed = [Signed(one.size, one.root, "a checkpoint") for one in checkpoints if one.signed]
        for said in (*signed, *self._topics.countersigned, *known):
            self._said.setdefault(said.size, []).append(said)

    def _append(self, leaf: bytes) -> None:
        self._log.append(leaf)
        if (size := self._log.size) not in self._said:
            return
        root = self._log.root()
        if wrong := sorted({one.by for one in self._said[size] if one.root != root}):
            where = f"positions {self._proven} to {size - 1}" if self._proven < size else f"the first {size}"
            self._say("positions that are not what was signed", f"{where}: {', '.join(wrong)} of size {size}")
        else:
            self._proven = size

    @property
    def agrees(self) -> bool:
        """Whether nothing was found."""
        return not self._found

    def lines(self) -> list[str]:
        """What was looked at, and everything that was found."""
        topics, size = self._topics, self._log.size
        told = [
            f"signed        {len(topics.signed)} documents{_since(topics.signed_since)}",
            f"by token      {len(topics.token_signed)} documents",
            f"posted        {len(topics.posted)} documents{_since(topics.posted_since)}",
            f"records       {self._counts['records']}",
            f"signing log   {size} positions, root {size}:{self._log.root().hex()}",
            f"countersigned {self._countersigned} positions",
            *(f"untold        {one}" for one in self.beginnings),
        ]
        if self._under_way:
            age = duration(max(self._under_way))
            told.append(f"under way     {len(self._under_way)} documents, the oldest signed {age} ago")
        for what, where in self._found.items():
            told.append(f"! {what}: {len(where)}")
            told += [f"    {one}" for one in where[:NAMED]]
            if len(where) > NAMED:
                told.append(f"    and {len(where) - NAMED} more")
        told.append("All agrees." if self.agrees else "It does not agree: docs/runbook.md says what each may mean.")
        return told

    def _say(self, what: str, where: str) -> None:
        self._found.setdefault(what, []).append(where)


def known_root(text: str) -> Signed:
    """SIZE:ROOT as `lines` prints it. Raises ValueError."""
    size, _, root = text.partition(":")
    if not size.isdecimal() or len(root) != 64:
        raise ValueError(text)
    return Signed(int(size), bytes.fromhex(root), "an earlier audit")


def _differing(record: Mapping[str, Any], record_id: UUID) -> str | None:
    """The first column that is not what the record says; what cannot be read differs as a whole."""
    try:
        said = json.loads(record["value"])
        header, document = said["header"], said["document"]
        wanted = {
            "record_id": said["record_id"],
            "request_id": said["request_id"],
            "place": said["index"],
            "system": header["system"],
            "document_id": document["id"],
            "action": header["action"],
            "user_id": header["user"],
            "sha256": document["sha256"],
            "amount": document["amount"],
            "currency": document["currency"],
            "posted_at": datetime.fromisoformat(said["posted_at"]),
        }
    except (ValueError, KeyError, TypeError):
        return "the record cannot be read"
    columns = {**record, "record_id": str(record_id), "request_id": str(record["request_id"])}
    columns["place"] = str(record["place"])
    return next((name for name, value in wanted.items() if columns[name] != value), None)


def _signed_at(record: Mapping[str, Any]) -> datetime | None:
    try:
        return datetime.fromisoformat(json.loads(record["value"])["signed_at"])
    except (ValueError, KeyError, TypeError):
        return None


def _since(since: datetime) -> str:
    return "" if since == ALWAYS else f", since {since:%F %T}Z"


def first_whole(firsts: Iterable[tuple[int, datetime | None]], now: datetime) -> datetime:
    """From when on a topic is whole, by (offset, time) of each partition's first record.

    None is the time where nothing is: nothing ever was, or all of it is deleted.
    """
    return max((at or now for offset, at in firsts if offset > 0), default=ALWAYS)
