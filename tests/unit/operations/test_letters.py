"""The topic tells what became of each letter, in its order, whatever lies on it."""

from collections.abc import Sequence
from typing import Any

from aiokafka import ConsumerRecord

from libs.bus.reader import Raw
from services.operations.letters import Letter, letters, resolution

TOPIC = "gpki.signing.signed.v1"


def on_topic(offset: int, headers: Sequence[tuple[str, bytes | None]], **fields: Any) -> Raw:
    made = {"key": b"BV-1", "value": b"rubbish", "timestamp": 1_790_000_000_000 + offset} | fields
    return ConsumerRecord(
        topic=f"{TOPIC}.dlq",
        partition=0,
        offset=offset,
        timestamp_type=1,
        checksum=None,
        serialized_key_size=0,
        serialized_value_size=0,
        headers=list(headers),
        **made,
    )


def buried(offset: int, *more: tuple[str, bytes | None]) -> Raw:
    said = {"topic": TOPIC, "partition": "2", "offset": "41", "service": "crl_verifier", "reason": "not JSON"}
    said["appended-at"] = "2026-11-28T03:00:00+00:00"
    added = [(f"x-dead-letter-{name}", text.encode()) for name, text in said.items()]
    return on_topic(offset, [("ce_id", b"1"), *added, *more])


def deed(letter: Letter, offset: int, what: Any, reason: str = "") -> Raw:
    record = resolution(letter, what, by="aminah", reason=reason)
    return on_topic(offset, record.headers, key=record.key, value=record.value)


def test_a_letter_says_who_buried_what_and_why_and_gives_the_record_back_as_it_was() -> None:
    (letter,) = letters(TOPIC, [buried(3)])
    assert (letter.name, letter.service, letter.reason) == (f"{TOPIC}:3", "crl_verifier", "not JSON")
    assert (letter.origin, letter.state) == (f"{TOPIC}/2/41", "open")
    assert letter.taken_at == "2026-11-28T03:00:00+00:00"
    record = letter.record
    assert (record.topic, record.key, record.value, record.headers) == (TOPIC, b"BV-1", b"rubbish", (("ce_id", b"1"),))


def test_deeds_are_told_in_their_order_and_the_last_is_the_state() -> None:
    first, second = letters(TOPIC, [buried(0), buried(1)])
    came = [buried(0), buried(1), deed(first, 2, "replayed"), deed(first, 3, "discarded", "never good")]
    told, untouched = letters(TOPIC, came)
    assert [(one.deed, one.by, one.reason) for one in told.resolutions] == [
        ("replayed", "aminah", ""),
        ("discarded", "aminah", "never good"),
    ]
    assert (told.state, untouched.state, second.state) == ("discarded", "open", "open")


def test_a_record_too_large_to_keep_is_known_as_such() -> None:
    (letter,) = letters(TOPIC, [buried(0, ("x-dead-letter-sha256", b"00"))])
    assert letter.cut


def test_what_is_no_letter_of_ours_is_shown_all_the_same() -> None:
    """Nobody else should write here: what lies here is not hidden."""
    strange = [("x-dead-letter-resolves", b"\xff"), ("x-dead-letter-resolution", b"\xfe")]
    found = letters(TOPIC, [on_topic(0, []), on_topic(1, strange), on_topic(2, [("n", None)])])
    assert [(letter.number, letter.state) for letter in found] == [(0, "open"), (1, "open"), (2, "open")]
