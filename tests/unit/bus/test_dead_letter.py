"""A dead letter is the record as it came, bounded; too many of them are a reason to stop."""

from dataclasses import replace
from functools import partial
from hashlib import sha256
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from libs.bus.dead_letter import IN_A_ROW, RATIO, WINDOW, DeadLetterLimit, dead_letter
from libs.bus.delivery import Delivery, Undecodable, decode
from libs.contracts.cloudevents import size
from libs.contracts.topics import MAX_DEAD_LETTER_BYTES, MAX_RECORD_BYTES
from tests.unit.bus.records import STAMP, TOPIC, encoded, raw

letter_of = partial(dead_letter, service="posting")


def undecodable(value: bytes = b"rubbish", **changes: Any) -> Undecodable:
    decoded = decode(TOPIC, raw(replace(encoded(), value=value), **changes))
    assert isinstance(decoded, Undecodable)
    return decoded


def test_it_names_the_place_and_the_reason_and_keeps_the_record() -> None:
    refused = undecodable(partition=3, offset=9)
    letter = letter_of(refused, "because").record
    headers = dict(letter.headers)
    assert letter.topic == TOPIC.dead_letter
    assert (letter.key, letter.value) == (refused.record.key, b"rubbish")
    assert headers["ce_id"] == dict(refused.record.headers)["ce_id"]
    added = {name: value for name, value in headers.items() if name.startswith("x-dead-letter-")}
    assert added == {
        "x-dead-letter-topic": TOPIC.name.encode(),
        "x-dead-letter-partition": b"3",
        "x-dead-letter-offset": b"9",
        "x-dead-letter-appended-at": refused.appended_at.isoformat().encode(),
        "x-dead-letter-service": b"posting",
        "x-dead-letter-reason": b"because",
    }


def test_a_sender_cannot_write_what_we_say() -> None:
    record = replace(encoded(), value=b"x", headers=(("x-dead-letter-reason", b"nothing"), ("x-dead-letter-new", b"")))
    decoded = decode(TOPIC, raw(record))
    letter = letter_of(decoded, "because").record
    assert [value for name, value in letter.headers if name == "x-dead-letter-reason"] == [b"because"]
    assert "x-dead-letter-new" not in dict(letter.headers)


def test_the_same_record_makes_the_same_letter_and_another_at_its_offset_another() -> None:
    first, again = letter_of(undecodable(), "a"), letter_of(undecodable(), "b")
    assert first.event_id == again.event_id
    assert letter_of(undecodable(offset=1), "a").event_id != first.event_id
    # offsets begin anew when a topic was made anew
    assert letter_of(undecodable(timestamp=STAMP + 1), "a").event_id != first.event_id


def test_the_letter_of_a_delivery_is_found_under_its_cause() -> None:
    decoded = decode(TOPIC, raw(encoded()))
    assert isinstance(decoded, Delivery)
    assert letter_of(decoded, "a").cause == decoded.id


def test_the_largest_record_is_kept_whole_and_a_larger_one_named_by_its_hash() -> None:
    whole = letter_of(undecodable(bytes(MAX_RECORD_BYTES)), "a").record
    assert len(whole.value) == MAX_RECORD_BYTES
    bomb = bytes(MAX_DEAD_LETTER_BYTES + 1)
    cut = letter_of(undecodable(bomb), "a").record
    assert (cut.key, cut.value) == (None, b"")
    assert dict(cut.headers)["x-dead-letter-sha256"] == sha256(bomb).hexdigest().encode()
    many = tuple(("h" * 100, b"v" * 1000) for _ in range(10_000))
    refused = decode(TOPIC, raw(replace(encoded(), value=b"x"), headers=many))
    assert size(letter_of(refused, "a").record) < MAX_DEAD_LETTER_BYTES
    assert all(size(letter) <= MAX_DEAD_LETTER_BYTES - 512 for letter in (whole, cut))


def counted(dead: list[bool]) -> DeadLetterLimit:
    limit = DeadLetterLimit()
    for each in dead:
        limit.count(dead=each)
    return limit


def test_too_many_in_a_row_reach_the_limit_and_one_good_one_between_does_not() -> None:
    assert not counted([True] * (IN_A_ROW - 1)).reached
    assert counted([True] * IN_A_ROW).reached
    assert not counted([True] * (IN_A_ROW - 1) + [False] + [True] * (IN_A_ROW - 1)).reached


def test_too_large_a_part_of_the_last_hundred_reaches_the_limit() -> None:
    assert counted([True, False] * (WINDOW // 2)).reached
    assert not counted([True, False, False] * WINDOW).reached
    assert not counted([True, False] * (WINDOW // 2 - 1)).reached


@given(st.lists(st.booleans(), max_size=300))
def test_the_limit_is_what_it_says(dead: list[bool]) -> None:
    last = dead[-WINDOW:]
    expected = dead[-IN_A_ROW:] == [True] * IN_A_ROW or (len(last) == WINDOW and sum(last) >= RATIO * WINDOW)
    assert counted(dead).reached == expected
