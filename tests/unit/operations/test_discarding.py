"""A discarded letter ends what would wait for ever, and nothing else."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from uuid import UUID

import pytest

from libs.contracts import topics
from libs.contracts.cloudevents import Record
from libs.contracts.ids import request_id_of
from libs.contracts.manifest import Header
from libs.contracts.reasons import Reason
from libs.contracts.topics import Topic
from services.operations.discarding import ENDS, RequestUnknownError, concerns, rejection
from services.operations.letters import Letter

REQUEST = request_id_of("igfmas", "R-1")
HEADER = {
    "request": "R-1",
    "caller": "igfmas",
    "system": "igfmas",
    "user": "800101145566",
    "office": "AG-KL-01",
    "action": "sah",
    "count": "2",
}


def letter(topic: Topic, value: object, *, service: str, key: str) -> Letter:
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    record = Record(topic.name, key.encode(), raw, ())
    now = datetime.now(UTC)
    return Letter(topic.name, 7, service, "why", f"{topic.name}/0/1", now.isoformat(), now, record, cut=False)


def test_a_document_s_letter_ends_that_document_of_the_request_that_it_names() -> None:
    event = {"request_id": str(REQUEST), "header": HEADER, "index": 0}
    ended = rejection(letter(topics.VERIFIED, event, service="posting", key="BV-1"))
    assert ended is not None
    assert (ended.request_id, ended.documents, ended.stage) == (REQUEST, ("BV-1",), "posting")
    assert (ended.reason, ended.header) == (Reason.POISON, Header.model_validate(HEADER))


def test_a_request_s_letter_ends_all_that_is_left_of_it() -> None:
    event = {"signed": {"manifest": {"header": HEADER}}}
    ended = rejection(letter(topics.MEDIUM_RESOLVED, event, service="otp_dispatch", key=str(REQUEST)))
    assert ended is not None
    assert (ended.request_id, ended.documents, ended.header) == (REQUEST, None, Header.model_validate(HEADER))


def test_a_refusal_that_could_not_be_counted_ends_what_it_named() -> None:
    event = {"request_id": str(REQUEST), "documents": ["BV-1", "BV-2"]}
    ended = rejection(letter(topics.REJECTED, event, service="posting", key=str(REQUEST)))
    assert ended is not None
    assert ended.documents == ("BV-1", "BV-2")


@pytest.mark.parametrize("topic", [topic for topic in topics.TOPICS.values() if topic.name not in ENDS])
@pytest.mark.parametrize("service", ["medium_lookup", "hsm_signer", "crl_verifier", "posting", "gateway"])
def test_on_every_other_topic_nothing_ends(topic: Topic, service: str) -> None:
    """A forged `requested` or authorisation must not end the true request of its key."""
    assert rejection(letter(topic, {"request_id": str(REQUEST)}, service=service, key=str(REQUEST))) is None


def test_what_only_the_timeline_could_not_read_ends_nothing() -> None:
    assert rejection(letter(topics.SIGNED, {"request_id": str(REQUEST)}, service="gateway", key="BV-1")) is None


def test_a_header_of_another_request_is_not_believed() -> None:
    event = {"request_id": str(UUID(int=7)), "header": HEADER}
    ended = rejection(letter(topics.SIGNED, event, service="crl_verifier", key="BV-1"))
    assert ended is not None
    assert (ended.request_id, ended.header) == (UUID(int=7), None)


@pytest.mark.parametrize("value", [b"\xff\x00", b"[]", b'{"request_id": 7}', b"[" * 100_000])
def test_the_operator_says_the_request_where_the_letter_cannot(value: bytes) -> None:
    broken = letter(topics.SIGNED, value, service="crl_verifier", key="BV-1")
    with pytest.raises(RequestUnknownError):
        rejection(broken)
    told = rejection(broken, REQUEST)
    assert told is not None
    assert told.request_id == REQUEST


def test_the_letter_s_own_request_wins_over_the_operator_s() -> None:
    event = {"request_id": str(REQUEST)}
    ended = rejection(letter(topics.SIGNED, event, service="crl_verifier", key="BV-1"), UUID(int=9))
    assert ended is not None
    assert ended.request_id == REQUEST


def test_a_key_that_can_be_no_document_ends_nothing() -> None:
    assert rejection(letter(topics.SIGNED, b"x", service="crl_verifier", key="\x00" * 300), REQUEST) is None


def test_the_same_letter_ends_with_the_same_event_every_time() -> None:
    """Discarded again after a crash, with other words: not a conflict."""
    once = letter(topics.SIGNED, {"request_id": str(REQUEST)}, service="crl_verifier", key="BV-1")
    assert rejection(once) == rejection(replace(once))


@pytest.mark.parametrize(
    ("value", "key", "told"),
    [
        ({"request_id": str(REQUEST)}, "elsewhere", True),
        (b"rubbish", str(REQUEST), True),
        (b"rubbish", "BV-1", True),  # whose it is, nobody can say: better told twice than not
        ({"request_id": str(UUID(int=7))}, "BV-1", False),
        (b"rubbish", "BV-9", False),
    ],
)
def test_a_letter_is_told_to_whoever_asks_for_a_request_that_it_may_be_of(value: object, key: str, told: bool) -> None:
    assert concerns(letter(topics.SIGNED, value, service="crl_verifier", key=key), REQUEST, {"BV-1"}) == told
