"""Decoding hostile bytes: every record is a delivery or is known to be none; nothing raises, no value is echoed."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from libs.bus.delivery import Coordinates, Delivery, Undecodable, decode, decode_parked
from libs.contracts import topics
from libs.contracts.cloudevents import Envelope, EnvelopeError, Record, encode, envelope_of, event_id
from libs.contracts.ids import event_id_of
from libs.contracts.topics import TOPICS, Topic
from libs.runtime.clock import utc_now
from libs.storage.ledger import Due
from tests.unit.bus.records import OUTSIDE, STAMP, TOPIC, encoded, raw, step

HEADERS = ["ce_specversion", "ce_id", "ce_source", "ce_type", "ce_time", "content-type", "traceparent", "x", ""]
hostile_headers = st.lists(
    st.tuples(st.sampled_from(HEADERS) | st.text(max_size=8), st.none() | st.binary(max_size=30)), max_size=12
)
hostile_values = (
    st.none()
    | st.binary(max_size=60)
    | st.sampled_from(
        [
            b"[" * 100_000,
            b'{"request_id":' * 20_000,
            b'{"a":1,"a":2}',
            b'{"document":"\\ud800"}',
            b"NaN",
            b"1e999",
            b"\xef\xbb\xbf{}",
            b'"' + b"9" * 5000 + b'"',
            b"9" * 5000,
            b'{"manifest":{"header":{"caller":"\\ud800","request":"r"},"documents":[]},"caller_key":"","signature":""}',
            b'{"manifest":{"header":{},"documents":[]},"caller_key":"","signature":""}',
            b'{"manifest":{"header":{"caller":"c","request":"r"},"documents":[{"a":"b"}]},"caller_key":"","signature":"=="}',
        ]
    )
)


def test_an_event_is_decoded_with_its_identity_place_and_the_brokers_time() -> None:
    record = encoded()
    decoded = decode(TOPIC, raw(record, offset=7, partition=3))
    assert isinstance(decoded, Delivery)
    assert decoded.event == step()
    assert decoded.id == event_id_of(TOPIC.name, str(event_id(TOPIC, step())))
    assert decoded.content_hash == sha256(record.value).digest()
    assert decoded.coordinates == Coordinates(TOPIC.name, 3, 7, STAMP)
    assert decoded.appended_at == datetime.fromtimestamp(STAMP / 1000, UTC)
    assert decoded.record == record
    assert decoded.request_id == step().request_id
    assert decoded.parked is None


@given(
    st.sampled_from([TOPIC, OUTSIDE, *TOPICS.values()]),
    hostile_headers,
    st.none() | st.binary(max_size=20),
    hostile_values,
)
@example(topics.REQUESTED, [], None, None)
def test_whatever_comes_the_answer_is_no_exception(
    topic: Topic, headers: list[tuple[str, bytes | None]], key: bytes | None, value: bytes | None
) -> None:
    record = Record(topic.name, key, b"", ())
    assert isinstance(decode(topic, raw(record, headers=headers, value=value)), Undecodable)


@given(st.sampled_from(list(TOPICS.values())), st.none() | st.binary(max_size=20), hostile_values)
def test_whatever_comes_in_a_good_envelope_the_answer_is_no_exception(
    topic: Topic, key: bytes | None, value: bytes | None
) -> None:
    headers = replace(encoded(topic), topic=topic.name).headers
    decoded = decode(topic, raw(Record(topic.name, key, b"", headers), value=value))
    assert isinstance(decoded, Undecodable)
    assert decoded.why


@pytest.mark.parametrize("topic", [TOPIC, OUTSIDE], ids=["ours", "outsiders"])
@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"key": b"other"}, "the key is not this event's key"),
        ({"key": None}, "the key is not this event's key"),
        ({"headers": ()}, "header ce_specversion is not 1.0"),
        ({"timestamp_type": 0}, "the timestamp is not the broker's"),
        ({"timestamp_type": 0, "timestamp": -(2**63)}, "the timestamp is not the broker's"),
    ],
)
def test_the_reason_says_what_is_wrong(topic: Topic, changes: dict[str, Any], why: str) -> None:
    decoded = decode(topic, raw(encoded(topic), **changes))
    assert isinstance(decoded, Undecodable)
    assert decoded.why == why


@pytest.mark.parametrize("topic", [TOPIC, OUTSIDE], ids=["ours", "outsiders"])
@pytest.mark.parametrize(
    "value",
    [
        b'{"request_id":"SECRET","document":"SECRET"}',
        b'{"SECRET":1}',
        b'{"request_id":{"SECRET":"SECRET"},"document":["SECRET"],"number":"SECRET"}',
        b"SECRET",
        b'{"SECRET":1,"SECRET":2}',
    ],
)  # fmt: skip
def test_a_reason_never_repeats_what_was_sent(topic: Topic, value: bytes) -> None:
    decoded = decode(topic, raw(encoded(topic), value=value))
    assert isinstance(decoded, Undecodable)
    assert "SECRET" not in decoded.why


@pytest.mark.parametrize(
    "topic", [topics.REQUESTED, topics.REVOCATION_REQUESTED, topics.MEDIUM_RESOLVED, topics.TOKEN_SIGNED], ids=str
)
def test_a_reason_never_repeats_a_name_that_was_sent(topic: Topic) -> None:
    value = b"""{"manifest":{"header":{"SECRET":1},"documents":[{"SECRET":1}]},"revocation":{"SECRET":1},
        "signed":{"manifest":{"SECRET":1}},"entry":{"SECRET":1},"SECRET":{"SECRET":1}}"""
    decoded = decode(topic, raw(encoded(topic), value=value))
    assert isinstance(decoded, Undecodable)
    assert "SECRET" not in decoded.why


def test_outsiders_may_not_name_a_field_twice() -> None:
    """Two parsers would read two events."""
    twice = encoded(OUTSIDE).value.replace(b'"document":"d"', b'"document":"e","document":"d"')
    decoded = decode(OUTSIDE, raw(encoded(OUTSIDE), value=twice))
    assert isinstance(decoded, Undecodable)


def test_an_unknown_field_is_ignored_and_the_content_hash_covers_it() -> None:
    more = encoded().value.replace(b"{", b'{"new":1,', 1)
    decoded, plain = decode(TOPIC, raw(encoded(), value=more)), decode(TOPIC, raw(encoded()))
    assert isinstance(decoded, Delivery)
    assert isinstance(plain, Delivery)
    assert decoded.event == plain.event
    assert decoded.id == plain.id
    assert decoded.content_hash != plain.content_hash


def test_headers_are_not_content() -> None:
    record = encoded()
    other = tuple((name, b"other" if name == "traceparent" else value) for name, value in record.headers)
    one, two = decode(TOPIC, raw(record)), decode(TOPIC, raw(record, headers=(*other, ("x", None))))
    assert isinstance(one, Delivery)
    assert isinstance(two, Delivery)
    assert (one.id, one.content_hash) == (two.id, two.content_hash)


def due(record: Record, **changes: object) -> Due:
    now = utc_now()
    fields: dict[str, object] = {
        "id": uuid4(), "what": TOPIC.name, "request_id": None, "why": "w", "tries": 0, "content_hash": b"first",
        "record": record, "appended_at": datetime.fromtimestamp(STAMP / 1000, UTC), "created_at": now, "now": now,
        "at": now, "leased_until": now, "partition": 2, "offset": 9,
    }  # fmt: skip
    return Due(**(fields | changes))  # type: ignore[arg-type]


def test_a_parked_record_keeps_the_identity_and_place_of_its_first_coming() -> None:
    row = due(encoded())
    decoded = decode_parked(TOPIC, row)
    assert isinstance(decoded, Delivery)
    assert (decoded.id, decoded.content_hash, decoded.cause) == (row.id, b"first", row.id)
    assert decoded.coordinates == Coordinates(TOPIC.name, 2, 9, STAMP)
    assert decoded.parked is row
    assert not decoded.is_timer


def test_a_timer_is_another_delivery_each_time_it_is_set_and_of_one_cause() -> None:
    row = due(encoded(), partition=None, offset=None)
    again, moved = replace(row, tries=3), replace(row, at=row.at + timedelta(seconds=1))
    first, same, other = (decode_parked(TOPIC, each) for each in (row, again, moved))
    assert isinstance(first, Delivery)
    assert isinstance(same, Delivery)
    assert isinstance(other, Delivery)
    assert first.is_timer
    assert first.id == same.id != other.id
    assert first.cause == same.cause == other.cause == row.id


def test_a_parked_record_that_is_not_readable_any_more_is_undecodable_with_its_row() -> None:
    row = due(replace(encoded(), value=b"x"))
    decoded = decode_parked(TOPIC, row)
    assert isinstance(decoded, Undecodable)
    assert decoded.parked is row


def envelope(**changes: bytes | None) -> Envelope:
    headers = {"ce_specversion": b"1.0", "ce_id": b"1", "ce_source": b"/x", "ce_type": TOPIC.name.encode()}
    return envelope_of(TOPIC.name, tuple((headers | changes).items()))


@pytest.mark.parametrize(
    "changes",
    [
        {"ce_specversion": b"0.3"}, {"ce_specversion": None}, {"ce_id": b""}, {"ce_id": b"i" * 201},
        {"ce_source": b""}, {"ce_type": b"other"}, {"ce_type": None}, {"ce_id": b"\xff"}, {"ce_other": b"\xff"},
    ],
)  # fmt: skip
def test_an_envelope_of_another_shape_is_refused(changes: dict[str, bytes | None]) -> None:
    with pytest.raises(EnvelopeError):
        envelope(**changes)


def test_the_bulk_lane_carries_the_type_of_the_interactive_one() -> None:
    names = {topics.AUTHORISATION_SUBMITTED, topics.AUTHORISATION_SUBMITTED_BULK}
    kinds = {encode(topic, step(), source="t", time=utc_now()).headers[3] for topic in names}
    assert kinds == {("ce_type", topics.AUTHORISATION_SUBMITTED.name.encode())}


def test_a_trace_goes_on_and_a_hostile_one_does_not() -> None:
    trace = "00-" + "a" * 32 + "-" + "b" * 16 + "-01"
    for given_trace, kept in ((trace, True), ("00-" + "A" * 32 + "-x", False), ("x" * 10_000, False), ("", False)):
        record = encode(TOPIC, step(), source="t", time=utc_now(), trace=given_trace)
        value = dict(record.headers)["traceparent"].decode()
        assert len(value) == 55
        assert (value[3:35] == "a" * 32) is kept
