"""An audit names what does not agree, and nothing else: each way to touch the records is found by its own words."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from libs.contracts.manifest import root_of_document
from libs.contracts.record import canonical_record, record_id_of, record_of
from libs.crypto.merkle import leaf_hash, tree_root
from services.operations.auditing import (
    ALL,
    ALWAYS,
    Audit,
    Kept,
    Row,
    Signed,
    Told,
    Topics,
    first_whole,
    known_root,
)
from tests.support.documents import officer, signed, verified
from tests.support.pki import Pki

NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)
POSTED_AT = NOW - timedelta(hours=1)
LATE = timedelta(minutes=5)


@pytest.fixture(scope="module")
def rows() -> tuple[Row, ...]:
    """Five documents as posting keeps them."""
    pki = Pki(now=POSTED_AT)
    found = []
    for position, event in enumerate(verified(pki, signed(officer(pki), [f"d{number}" for number in range(5)]))):
        root = root_of_document(event.header, event.entry, event.index, event.path)
        value = canonical_record(record_of(event, root=root, posted_at=POSTED_AT))
        record = {
            "request_id": event.request_id,
            "place": event.index,
            "system": event.header.system,
            "document_id": event.entry.id,
            "action": event.header.action,
            "user_id": event.header.user,
            "sha256": event.entry.sha256,
            "amount": event.entry.amount,
            "currency": event.entry.currency,
            "value": value,
            "posted_at": POSTED_AT,
        }
        found.append(Row(position, leaf_hash(value), record_id_of(event.request_id, event.entry.id), record))
    return tuple(found)


def told(rows: tuple[Row, ...]) -> Topics:
    """What the topics said of them when all was well."""
    topics = Topics(at=NOW)
    for row in rows:
        assert row.record is not None
        assert row.position is not None
        assert row.leaf is not None
        key = row.record["request_id"], row.record["document_id"]
        topics.signed[key] = POSTED_AT
        topics.posted[key] = Told(row.record_id, row.position, row.leaf)
    return topics


def audited(
    rows: list[Row],
    topics: Topics,
    refused: set[Any] | None = None,
    known: Signed | None = None,
    checkpoints: Sequence[Kept] = (),
) -> list[str]:
    """What was found, without the numbers and the last line."""
    audit = Audit(topics, refused or set(), late=LATE, checkpoints=checkpoints, known=[known] if known else [])
    for row in rows:
        audit.take(row)
    audit.end()
    lines = audit.lines()
    assert audit.agrees == (lines[-1] == "All agrees.") == (not [line for line in lines if line.startswith("!")])
    return [line for line in lines[:-1] if line.startswith(("! ", "    "))]


def changed(row: Row, **columns: Any) -> Row:
    assert row.record is not None
    return replace(row, record={**row.record, **columns})


def test_what_agrees_is_said_to_agree_with_its_root(rows: tuple[Row, ...]) -> None:
    audit = Audit(told(rows), set(), late=LATE)
    for row in rows:
        audit.take(row)
    audit.end()
    assert audit.agrees
    leaves = [row.leaf for row in rows if row.leaf is not None]
    assert f"signing log   5 positions, root 5:{tree_root(leaves).hex()}" in audit.lines()


def test_an_empty_platform_agrees() -> None:
    assert audited([], Topics(at=NOW)) == []


def amount_in_the_value(row: Row) -> Row:
    assert row.record is not None
    return changed(row, value=row.record["value"].replace(b"1250.50", b"9250.50"), amount="9250.50")


def with_a_new_leaf(row: Row) -> Row:
    forged = amount_in_the_value(row)
    assert forged.record is not None
    return replace(forged, leaf=leaf_hash(forged.record["value"]))


def without_its_leaf(row: Row) -> Row:
    return replace(row, position=None, leaf=None)


TOUCHED: dict[str, tuple[Callable[[Row], Row], list[str]]] = {
    "changed": (amount_in_the_value, ["records that are not what was logged"]),
    "changed with its leaf": (with_a_new_leaf, ["records that `posted` told otherwise"]),
    "a column changed": (
        lambda row: changed(row, amount="9250.50"),
        ["records whose columns are not the record's own"],
    ),
    "unreadable": (
        lambda row: changed(row, value=b"\xff"),
        ["records that are not what was logged", "records whose columns are not the record's own"],
    ),
    "removed": (
        lambda row: replace(row, record=None),
        ["positions whose record is gone", "posted, and there is no record"],
    ),
}


@pytest.mark.parametrize("how", TOUCHED)
def test_a_record_that_was_touched_is_named(rows: tuple[Row, ...], how: str) -> None:
    """I-37."""
    touch, whats = TOUCHED[how]
    found = audited([*rows[:2], touch(rows[2]), *rows[3:]], told(rows))
    assert [line for line in found if line.startswith("! ")] == [f"! {what}: 1" for what in whats]
    assert all("position 2: " in line for line in found if line.startswith("    "))


def test_a_position_that_was_removed_leaves_a_gap(rows: tuple[Row, ...]) -> None:
    """I-37: also with its record, and the record also without it."""
    assert audited([*rows[:1], *rows[3:]], told(rows))[:2] == [
        "! gaps in the signing log: 1",
        "    positions 1 to 2",
    ]
    found = audited([*rows[:2], *rows[3:], without_its_leaf(rows[2])], told(rows))
    assert "! records that are not in the signing log: 1" in found
    assert "    position 2" in found


def test_a_row_that_says_it_is_far_away_costs_no_memory(rows: tuple[Row, ...]) -> None:
    found = audited([*rows[:4], replace(rows[4], position=2**60)], told(rows))
    assert f"    positions 4 to {2**60 - 1}" in found


def test_records_that_changed_places_are_both_named(rows: tuple[Row, ...]) -> None:
    """I-37: each leaf is right, and neither is where `posted` said that it is."""
    first, second = replace(rows[1], position=2), replace(rows[2], position=1)
    found = audited([rows[0], second, first, *rows[3:]], told(rows))
    assert found[0] == "! records that `posted` told otherwise: 2"
    assert len(found) == 3


def test_a_log_that_was_cut_off_is_missed_by_what_was_posted_and_by_an_earlier_root(rows: tuple[Row, ...]) -> None:
    """I-37."""
    assert audited(list(rows[:4]), told(rows))[0] == "! posted, and there is no record: 1"
    # Long after, when the topics keep nothing of it:
    old = Topics(at=NOW, signed_since=NOW, posted_since=NOW)
    leaves = [row.leaf for row in rows if row.leaf is not None]
    assert audited(list(rows[:4]), old) == []
    whole = known_root(f"5:{tree_root(leaves).hex()}")
    assert audited(list(rows), old, known=whole) == []
    assert audited(list(rows[:4]), old, known=whole)[0] == "! the signing log is shorter than it was: 1"
    assert audited([*rows[:2], with_a_new_leaf(rows[2]), *rows[3:]], old) == []
    forged = audited([*rows[:2], with_a_new_leaf(rows[2]), *rows[3:]], old, known=whole)
    assert forged == ["! positions that are not what was signed: 1", "    positions 0 to 4: an earlier audit of size 5"]


def signed_at(rows: Sequence[Row], *sizes: int) -> list[Kept]:
    """Checkpoints of these sizes over what the rows were."""
    leaves = [row.leaf for row in rows if row.leaf is not None]
    return [
        Kept(size, before, tree_root(leaves[:size]), signed=True)
        for before, size in zip((0, *sizes), sizes, strict=False)
    ]


LONG_AFTER = Topics(at=NOW, signed_since=NOW, posted_since=NOW)
"""The topics keep nothing of it any more."""


@pytest.mark.parametrize(
    ("place", "where"), [(0, "0 to 1"), (1, "0 to 1"), (2, "2 to 3"), (3, "2 to 3"), (4, "4 to 4")]
)
def test_a_record_rewritten_with_its_leaf_is_found_by_what_was_signed_and_between_which_sizes(
    rows: tuple[Row, ...], place: int, where: str
) -> None:
    """I-42: long after, and by nothing else."""
    forged = [*rows[:place], with_a_new_leaf(rows[place]), *rows[place + 1 :]]
    checkpoints = signed_at(rows, 2, 4, 5)
    assert audited(forged, LONG_AFTER) == [], "without a checkpoint nobody would know"
    assert audited(list(rows), LONG_AFTER, checkpoints=checkpoints) == []
    found = audited(forged, LONG_AFTER, checkpoints=checkpoints)
    assert found[1].startswith(f"    positions {where}: a checkpoint")
    assert found[0].startswith("! positions that are not what was signed: ")


def test_a_checkpoint_written_anew_with_the_log_is_believed_by_its_signature_alone(rows: tuple[Row, ...]) -> None:
    """I-42: the root in the table may be made to fit, the note's signature may not; nor what is on the topic."""
    forged = [with_a_new_leaf(rows[0]), *rows[1:]]
    fitting = [replace(one, signed=False) for one in signed_at(forged, 2, 5)]
    assert audited(forged, LONG_AFTER, checkpoints=fitting) == [
        "! checkpoints that the log's key has not signed: 2",
        "    size 2",
        "    size 5",
    ]
    (last,) = signed_at(rows, 5)
    topics = replace(LONG_AFTER, countersigned=[Signed(last.size, last.root, "a countersigned checkpoint")])
    found = audited(forged, topics)
    assert found == [
        "! checkpoints that are gone: 1",
        "    from size 0 to 5, as countersigned",
        "! positions that are not what was signed: 1",
        "    positions 0 to 4: a countersigned checkpoint of size 5",
    ]
    assert audited(forged[:3], topics)[2] == "! the signing log is shorter than it was: 1"
    assert audited(list(rows), replace(LONG_AFTER, unsigned=2))[0].startswith("! countersigned checkpoints that")


def test_a_checkpoint_that_is_gone_leaves_a_gap(rows: tuple[Row, ...]) -> None:
    first, second, third = signed_at(rows, 2, 4, 5)
    assert audited(list(rows), LONG_AFTER, checkpoints=[first, third]) == [
        "! checkpoints that are gone: 1",
        "    between sizes 2 and 5",
    ]
    assert audited(list(rows), LONG_AFTER, checkpoints=[second, third])[1] == "    between sizes 0 and 4"


@pytest.mark.parametrize(("by", "times", "age"), [("signed", 1, "5 min 1 s"), ("token_signed", 2, "10 min 1 s")])
def test_signed_and_without_an_outcome_is_named_once_late(rows: tuple[Row, ...], by: str, times: int, age: str) -> None:
    """I-37."""
    topics, request_id, late = told(rows), uuid4(), times * LATE
    signed = {(request_id, "late"): NOW - late - timedelta(seconds=1), (request_id, "young"): NOW - late}
    getattr(topics, by).update(signed)
    found = audited(list(rows), topics)
    assert found[0] == "! signed, and neither posted nor rejected: 1"
    assert f"request {request_id}, document late: signed {age} ago, " in found[1]
    for refused in ({(request_id, "late")}, {(request_id, ALL)}):
        assert audited(list(rows), topics, refused=refused) == []
        assert audited(list(rows), replace(topics, rejected=refused)) == []


def test_posted_and_never_signed_or_never_told_is_named_while_the_topics_can_tell(rows: tuple[Row, ...]) -> None:
    """I-37."""
    topics = told(rows)
    key = next(iter(topics.signed))
    at = topics.signed.pop(key)
    found = audited(list(rows), topics)
    assert found[0] == "! posted and never signed: 1"
    assert f"request {key[0]}, document {key[1]}: posted 1 h ago, {POSTED_AT:%F %T}Z" in found[1]
    topics.token_signed[key] = at
    assert audited(list(rows), topics) == []
    topics.token_signed.clear()
    topics.signed_since = at
    assert audited(list(rows), topics) == [], "it is older than what the topic has"
    del topics.posted[key]
    assert audited(list(rows), topics)[0] == "! records of which `posted` never told: 1"
    topics.posted_since = POSTED_AT
    assert audited(list(rows), topics) == []


def test_a_topic_is_whole_from_its_youngest_beginning_on() -> None:
    early, later = NOW - timedelta(days=2), NOW - timedelta(days=1)
    assert first_whole([(0, early), (0, None)], NOW) == ALWAYS
    assert first_whole([(7, early), (3, later), (0, NOW)], NOW) == later
    assert first_whole([(7, None), (3, later)], NOW) == NOW, "all of a partition is deleted"


@pytest.mark.parametrize("text", ["", "5", "5:ab", ":" + "0" * 64, "x:" + "0" * 64, "5:" + "z" * 64])
def test_what_is_no_size_and_root_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        known_root(text)


def test_of_many_some_are_named_and_all_are_counted() -> None:
    topics = Topics(at=NOW, signed={(UUID(int=1), f"d{n}"): NOW - timedelta(hours=1) for n in range(50)})
    found = audited([], topics)
    assert found[0] == "! signed, and neither posted nor rejected: 50"
    assert found[-1] == "    and 30 more"
