"""What the SDK believes of Kafka is what a producer of the topic signed (I-57), by the rule that the services have."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from deploy.native.principals import TOLD_TO_CALLERS
from libs.bus.producers import Producers
from libs.contracts import topics
from libs.contracts.cloudevents import Record
from libs.contracts.event_signature import HEADER
from libs.contracts.signing import Completed, PostedDocument
from libs.contracts.state import Key
from libs.contracts.topics import Topic
from libs.crypto.pki import OID_PRODUCER
from libs.gpki_client import producers as sdk
from libs.gpki_client.errors import CertificateError, ForgedEventError, UnknownProducerError
from libs.gpki_client.producers import PRODUCERS, EventRecord, ProducerKeys
from libs.runtime.clock import utc_now
from libs.runtime.kafka_access import KafkaAccess
from tests.support.pki import Pki
from tests.support.producers import Hands
from tests.support.requests import key_id, key_state

COMPLETED, KEYS = topics.COMPLETED, topics.KEYS
NOW = utc_now().replace(microsecond=0)


@pytest.fixture(scope="module")
def pki() -> Pki:
    return Pki(now=NOW)


@pytest.fixture(scope="module")
def hands(pki: Pki) -> Hands:
    return Hands(pki)


def root_of(pki: Pki) -> bytes:
    return pki.service_root.certificate.public_bytes(Encoding.DER)


def came(record: Record, at: datetime = NOW) -> EventRecord:
    return EventRecord(record.topic, record.key, record.value, record.headers, at)


def knowing(pki: Pki, *keys: Record) -> ProducerKeys:
    found = ProducerKeys(root_of(pki))
    found.learn(map(came, keys))
    return found


@pytest.fixture
def keys(pki: Pki, hands: Hands) -> ProducerKeys:
    """Who has read the keys' topic."""
    return knowing(pki, *hands.keys())


def end() -> Completed:
    one = PostedDocument(document_id="BB1", record_id=uuid4())
    return Completed(request_id=uuid4(), header=None, posted=(one,), rejected=(), completed_at=NOW)


@pytest.fixture
def record(hands: Hands) -> Record:
    """A genuine `completed`."""
    return hands.event(topics.COMPLETED, end())


def refused(keys: ProducerKeys, record: Record, at: datetime = NOW) -> str:
    with pytest.raises(ForgedEventError) as found:
        keys.check(came(record, at))
    return str(found.value)


def unsigned(record: Record) -> Record:
    return replace(record, headers=tuple(header for header in record.headers if header[0] != HEADER))


def test_what_posting_signed_is_believed(keys: ProducerKeys, record: Record) -> None:
    keys.check(came(record))


FORGERIES: dict[str, tuple[Callable[[Record, Hands], Record], str]] = {
    "unsigned": (lambda record, _: unsigned(record), "not signed"),
    "signed twice": (lambda record, _: replace(record, headers=(*record.headers, record.headers[-1])), "not signed"),
    "a cut signature": (
        lambda record, _: replace(unsigned(record), headers=(*unsigned(record).headers, (HEADER, b"\0" * 95))),
        "not signed",
    ),
    "another service's": (lambda _, hands: hands.event(topics.COMPLETED, end(), by="gateway"), "does not write this"),
    "another service's as posting": (
        lambda _, hands: hands.event(topics.COMPLETED, end(), by="gateway", source="posting"),
        "does not write this",
    ),
    "posting's as another": (lambda _, hands: hands.event(topics.COMPLETED, end(), source="gateway"), "ce_source"),
    "another value": (lambda record, _: replace(record, value=record.value.replace(b"BB1", b"BB2")), "does not hold"),
    "another key": (lambda record, _: replace(record, key=str(uuid4()).encode()), "does not hold"),
    "no key": (lambda record, _: replace(record, key=None), "does not hold"),
    "another id": (
        lambda record, _: replace(
            record, headers=tuple((n, v + b"0" if n == "ce_id" else v) for n, v in record.headers)
        ),
        "does not hold",
    ),
    "another topic's": (
        lambda _, hands: replace(
            hands.sign(Record(topics.WAITING.name, b"k", b"{}", (("ce_source", b"/gpki/posting"),)), "posting"),
            topic=topics.COMPLETED.name,
        ),
        "does not hold",
    ),
    "a stranger's": (lambda _, __: Hands(Pki(now=NOW)).event(topics.COMPLETED, end()), "not known"),
}


@pytest.mark.parametrize("what", FORGERIES)
def test_a_forged_end_is_refused_by_the_sdk_as_by_the_services(
    pki: Pki, hands: Hands, keys: ProducerKeys, record: Record, what: str
) -> None:
    """I-57."""
    make, why = FORGERIES[what]
    assert why in refused(keys, make(record, hands))
    services = Producers(KafkaAccess("nowhere:1", "nobody", SecretStr("x")), root_of(pki))
    services.learn(hands.keys())
    assert services.judge(topics.COMPLETED, record, NOW) is None
    assert services.judge(topics.COMPLETED, make(record, hands), NOW) is not None


def test_what_is_signed_beside_the_event_may_change(keys: ProducerKeys, record: Record) -> None:
    """A trace is nobody's word."""
    keys.check(came(replace(record, headers=(*record.headers, ("x-more", b"1")))))


def test_a_key_that_was_replaced_signs_nothing_after(pki: Pki, hands: Hands, record: Record) -> None:
    """I-57. Nor does an older word on it bring it back."""
    state = key_state(hands.of("posting"), "producer", "posting", pki, version=2, retired_at=NOW)
    retired = hands.event(topics.KEYS, state, by="certificate_authority")
    publisher, known = hands.keys(of=()), hands.keys()
    for order in ([*known, retired], [*publisher, retired, *known]):
        keys = knowing(pki, *order)
        keys.check(came(record, NOW - timedelta(seconds=1)))
        assert "was replaced" in refused(keys, record, NOW)


def test_an_expired_certificate_signs_nothing_after(pki: Pki, hands: Hands, keys: ProducerKeys, record: Record) -> None:
    """I-57."""
    until = hands.of("posting").certificate.not_valid_after_utc
    keys.check(came(record, until))
    assert "expired" in refused(keys, record, until + timedelta(seconds=1))


def forged_keys(pki: Pki, hands: Hands) -> dict[str, list[Record]]:
    """What a writer of the keys' topic can have the SDK read, to be believed as posting with a key of his own."""
    mine = Hands(pki)  # certified by the root in a test, so that nothing but the rule that is meant refuses it
    stranger = Hands(Pki(now=NOW))
    state = key_state(mine.of("posting"), "producer", "posting", pki)
    publisher = hands.keys(of=())

    def told(state: Key, by: str = "certificate_authority", whose: Hands = hands, **change: Any) -> Record:
        return replace(whose.event(topics.KEYS, state, by=by), **change)

    caller = key_state(mine.of("posting"), "caller", "posting", pki)
    return {
        "unsigned": [*publisher, unsigned(told(state))],
        "by itself": [*publisher, told(state, by="posting", whose=mine)],
        "by another service": [*publisher, *hands.keys(of=["gateway"]), told(state, by="gateway")],
        "by a publisher of his own": [*stranger.keys(), told(state, whose=stranger)],
        "altered": [*publisher, replace(told(state), value=told(state).value + b" ")],
        "under another key": [
            *publisher,
            hands.sign(replace(unsigned(told(state)), key=b"another"), "certificate_authority"),
        ],
        "another's certificate": [
            *publisher,
            told(key_state(mine.of("gateway"), "producer", "posting", pki, key_id=key_id(mine.of("gateway")))),
        ],
        "another key's certificate": [*publisher, told(state.model_copy(update={"chain": (hands.of("posting").der,)}))],
        "for another purpose": [*publisher, told(caller)],
        "of another root": [*publisher, told(key_state(stranger.of("posting"), "producer", "posting", pki))],
        "no chain": [*publisher, told(state.model_copy(update={"chain": ()}))],
        "no JSON": [*publisher, replace(told(state), value=b"\xff")],
        "deep": [*publisher, replace(told(state), value=b"[" * 100_000)],
    }


@pytest.mark.parametrize("what", [*forged_keys(Pki(now=NOW), Hands(Pki(now=NOW)))])
def test_no_writer_of_the_keys_topic_makes_a_producer(pki: Pki, hands: Hands, what: str) -> None:
    """I-57."""
    keys = knowing(pki, *forged_keys(pki, hands)[what])
    believed = {producer.name for producer in keys._known.values()}
    assert "posting" not in believed


def test_a_certificate_for_something_else_makes_no_producer(pki: Pki, hands: Hands) -> None:
    """I-57: a caller's key that the publisher itself calls a producer's."""
    caller = pki.caller("posting")
    state = key_state(caller, "producer", "posting", pki)
    keys = knowing(pki, *hands.keys(of=()), hands.event(topics.KEYS, state, by="certificate_authority"))
    assert [producer.name for producer in keys._known.values()] == ["certificate_authority"]


def test_keys_are_learnt_in_any_order(pki: Pki, hands: Hands, record: Record) -> None:
    """The publisher's own key may stand behind what it signed, and be read by another look."""
    first, *rest = sorted(hands.keys(), key=lambda one: one.key == key_id(hands.of("certificate_authority")).encode())
    keys = knowing(pki, first, *rest[:-1])
    with pytest.raises(UnknownProducerError):
        keys.check(came(record))
    keys.learn([came(rest[-1])])
    keys.check(came(record))


def test_what_never_becomes_known_fills_no_memory(
    pki: Pki, hands: Hands, record: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sdk, "UNRESOLVED", 5)
    keys = ProducerKeys(root_of(pki))
    every = hands.keys()
    lonely = [one for one in every if one.key != key_id(hands.of("certificate_authority")).encode()]
    for _ in range(3):
        keys.learn(map(came, lonely))
    assert len(keys._unresolved) == 5
    keys.learn(map(came, hands.keys()))
    keys.check(came(record))


@given(st.binary(max_size=40), st.integers(0, 10**6), st.integers(0, 255), st.sampled_from([COMPLETED, KEYS]))
def test_whatever_comes_is_judged_and_raises_nothing_else(
    pki: Pki, hands: Hands, junk: bytes, place: int, byte: int, which: Topic
) -> None:
    """I-57: any bytes, and any one byte of a genuine record changed."""
    keys = knowing(pki, *hands.keys())
    genuine = hands.event(COMPLETED, end()) if which is COMPLETED else hands.keys(of=())[0]
    value = bytearray(genuine.value)
    value[place % len(value)] = byte
    headers = tuple((name, junk if name == HEADER else content) for name, content in genuine.headers)
    made = [
        replace(genuine, value=junk),
        replace(genuine, key=junk),
        replace(genuine, headers=headers),
        *([replace(genuine, value=bytes(value))] if bytes(value) != genuine.value else []),
    ]
    known = dict(keys._known)
    keys.learn(map(came, made))
    assert keys._known == known
    for one in made:
        with pytest.raises(ForgedEventError):
            keys.check(came(replace(one, topic=COMPLETED.name)))


def test_a_pinned_root_that_is_none_is_said_at_once() -> None:
    with pytest.raises(CertificateError):
        ProducerKeys(b"no certificate")


def test_the_sdk_s_table_is_that_of_the_platform() -> None:
    told = {topic.name: topic.producers for topic in TOLD_TO_CALLERS if topic.producers and topic is not topics.KEYS}
    assert dict(PRODUCERS) == told
    assert sdk.OID_PRODUCER == OID_PRODUCER
    assert topics.KEYS.name == sdk.KEYS
    assert sdk.HEADER == HEADER
