"""Whose event a record is, is judged before it is read (I-38): by one signature over all that is decided by."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from pydantic import SecretStr

from libs.bus.delivery import Delivery, Undecodable, decode, decode_parked
from libs.bus.outcomes import Unavailable
from libs.bus.producers import KEY_PUBLISHER, UNKNOWN_KEY, Producers
from libs.bus.signing import PRODUCER_KEY, EventSigner, unsigned
from libs.contracts import topics
from libs.contracts.cloudevents import Record
from libs.contracts.event_signature import HEADER, signature_input, signature_of
from libs.contracts.signing import Rejected
from libs.contracts.state import Key
from libs.crypto.public_keys import public_key_id
from libs.crypto.requests import new_signing_key, read_signing_key
from libs.runtime.clock import utc_now
from libs.runtime.kafka_access import KafkaAccess
from libs.runtime.settings import ConfigurationError
from libs.storage.ledger import Due
from tests.support.pki import Pki
from tests.support.producers import Hands
from tests.support.requests import key_state
from tests.unit.bus.records import raw

NOBODY = KafkaAccess("nowhere:1", "nobody", SecretStr("x"))

NOW = utc_now().replace(microsecond=0)
REJECTED = topics.REJECTED


@pytest.fixture(scope="module")
def pki() -> Pki:
    return Pki(now=NOW)


@pytest.fixture(scope="module")
def hands(pki: Pki) -> Hands:
    return Hands(pki)


def judges(pki: Pki) -> Producers:
    return Producers(NOBODY, pki.service_root.certificate.public_bytes(Encoding.DER))


@pytest.fixture
def producers(pki: Pki, hands: Hands) -> Producers:
    """Who has read the keys' topic."""
    found = judges(pki)
    found.learn(hands.keys())
    return found


def rejection() -> Rejected:
    return Rejected(
        request_id=uuid4(), header=None, documents=("BB1",), stage="posting", reason="poison", safe_to_retry=False
    )


@pytest.fixture
def record(hands: Hands) -> Record:
    """A genuine `rejected` of posting."""
    return hands.event(REJECTED, rejection(), by="posting")


def judged(producers: Producers, record: Record, at: datetime = NOW) -> Any:
    return decode(topics.TOPICS[record.topic], raw(record, timestamp=round(at.timestamp() * 1000)), producers.judge)


def refused(producers: Producers, record: Record, at: datetime = NOW) -> str:
    """Why it was put aside, before anything of it was read."""
    found = judged(producers, record, at)
    assert isinstance(found, Undecodable)
    assert found.forged
    return found.why


def without_signature(record: Record) -> Record:
    return replace(record, headers=tuple(header for header in record.headers if header[0] != HEADER))


def test_an_event_of_its_producer_is_delivered(producers: Producers, record: Record) -> None:
    """I-38."""
    assert isinstance(judged(producers, record), Delivery)


def test_an_event_without_a_signature_is_not_even_read(producers: Producers, record: Record) -> None:
    """I-38. What would be undecodable is refused for its signature, so that nothing of it was parsed."""
    assert refused(producers, without_signature(record)) == "producer signature: none"
    assert refused(producers, replace(without_signature(record), value=b"\xff")) == "producer signature: none"


@pytest.mark.parametrize("signature", [b"", b"\0" * 95, b"\0" * 97], ids=len)
def test_a_signature_of_another_length_is_none(producers: Producers, record: Record, signature: bytes) -> None:
    forged = replace(record, headers=(*without_signature(record).headers, (HEADER, signature)))
    assert refused(producers, forged) == "producer signature: none"


def test_two_signatures_are_none(producers: Producers, record: Record) -> None:
    assert refused(producers, replace(record, headers=(*record.headers, record.headers[-1]))).endswith("none")


SIGNED = ("ce_specversion", "ce_id", "ce_source", "ce_type", "ce_time", "ce_subject")


@pytest.mark.parametrize("name", SIGNED)
def test_no_header_can_be_altered_removed_or_doubled(producers: Producers, record: Record, name: str) -> None:
    """I-38."""
    value = dict(record.headers)[name]
    altered = tuple((each, content + b"x" if each == name else content) for each, content in record.headers)
    removed = tuple(header for header in record.headers if header[0] != name)
    for headers in (altered, removed, (*record.headers, (name, value))):
        assert refused(producers, replace(record, headers=headers))
    added = (*record.headers, ("ce_more", b"1"))
    assert refused(producers, replace(record, headers=added)) == "producer signature: it does not hold"


def test_the_order_of_headers_is_part_of_what_is_signed(producers: Producers, record: Record) -> None:
    assert refused(producers, replace(record, headers=record.headers[::-1])) == "producer signature: it does not hold"


def test_no_key_value_or_topic_can_be_another(producers: Producers, record: Record) -> None:
    """I-38. `waiting` is a topic that posting may write, too."""
    for forged in (
        replace(record, key=b"another"),
        replace(record, key=None),
        replace(record, value=record.value.replace(b"BB1", b"BB2")),
        replace(record, value=record.value + b" "),
        replace(record, topic=topics.WAITING.name),
    ):
        assert refused(producers, forged) == "producer signature: it does not hold"


def test_a_signature_is_no_other_event_s(producers: Producers, hands: Hands, record: Record) -> None:
    other = hands.event(REJECTED, rejection(), by="posting")
    forged = replace(record, headers=(*without_signature(record).headers, other.headers[-1]))
    assert refused(producers, forged) == "producer signature: it does not hold"


def test_the_parts_of_what_is_signed_cannot_flow_into_each_other() -> None:
    one = Record("t", b"ab", b"", (("ce_a", b"bc"),))
    two = Record("ta", b"b", b"", (("ce_ab", b"c"),))
    assert signature_input(one) != signature_input(two)
    assert signature_input(one) != signature_input(replace(one, headers=(("ce_a", b"b"), ("ce_c", b""))))


def test_a_service_s_key_writes_that_service_s_topics_alone(producers: Producers, hands: Hands) -> None:
    """I-38."""
    forged = hands.event(REJECTED, rejection(), by="gateway", source="gateway")
    assert refused(producers, forged) == "producer signature: not a producer of this topic"


def test_no_service_speaks_in_another_s_name(producers: Producers, hands: Hands) -> None:
    forged = hands.event(REJECTED, rejection(), by="crl_verifier", source="posting")
    assert refused(producers, forged) == "producer signature: ce_source is another's"


def test_a_key_of_nobody_or_under_another_root_or_for_another_purpose_signs_nothing(
    pki: Pki, hands: Hands, producers: Producers
) -> None:
    """I-17, I-38."""
    stranger = Hands(Pki(now=NOW))
    producers.learn(stranger.keys())
    caller = pki.caller("posting")
    producers.learn([hands.event(topics.KEYS, key_state(caller, "caller", "posting", pki), by=KEY_PUBLISHER)])
    as_caller = Hands(pki, {"posting": caller})
    for hand in (stranger, as_caller):
        assert refused(producers, hand.event(REJECTED, rejection(), by="posting")) == UNKNOWN_KEY


def test_a_key_that_was_replaced_signed_what_came_before_and_nothing_after(
    pki: Pki, hands: Hands, producers: Producers, record: Record
) -> None:
    replaced = key_state(hands.of("posting"), "producer", "posting", pki, version=2, retired_at=NOW)
    producers.learn([hands.event(topics.KEYS, replaced, by=KEY_PUBLISHER)])
    assert isinstance(judged(producers, record, NOW - timedelta(seconds=1)), Delivery)
    assert refused(producers, record, NOW) == "producer signature: the key was replaced"
    assert not producers.knows(public_key_id(hands.of("posting").key.public_key()))


def test_a_certificate_that_has_expired_signs_nothing_more(pki: Pki, producers: Producers, record: Record) -> None:
    at = NOW + timedelta(days=400)
    assert refused(producers, record, at) == "producer signature: the certificate has expired"


def test_keys_are_known_in_whatever_order_the_compacted_topic_has_them(pki: Pki, hands: Hands, record: Record) -> None:
    for records in (hands.keys(), hands.keys()[::-1]):
        found = judges(pki)
        for one in records:
            found.learn([one])
        assert isinstance(judged(found, record), Delivery)


def forged_states(pki: Pki, hands: Hands, state: Key) -> dict[str, Record]:
    """What a writer of the keys' topic could make of a state without the key publisher's key."""
    genuine = hands.event(topics.KEYS, state, by=KEY_PUBLISHER)
    return {
        "unsigned": without_signature(genuine),
        "by another service": hands.event(topics.KEYS, state, by="posting"),
        "by the signer": hands.event(topics.KEYS, state, by="hsm_signer"),
        "by nobody": Hands(Pki(now=NOW)).event(topics.KEYS, state, by=KEY_PUBLISHER),
    }


@pytest.mark.parametrize("forgery", ["unsigned", "by another service", "by the signer", "by nobody"])
def test_nobody_but_the_key_publisher_retires_a_producers_key_or_takes_that_back(
    pki: Pki, hands: Hands, producers: Producers, record: Record, forgery: str
) -> None:
    """I-17."""
    posting = hands.of("posting")
    ended = key_state(posting, "producer", "posting", pki, version=5, retired_at=NOW - timedelta(days=1))
    producers.learn([forged_states(pki, hands, ended)[forgery]])
    assert isinstance(judged(producers, record), Delivery)

    producers.learn([hands.event(topics.KEYS, ended, by=KEY_PUBLISHER)])
    assert refused(producers, record).endswith("the key was replaced")
    back = ended.model_copy(update={"version": 6, "retired_at": None})
    producers.learn([forged_states(pki, hands, back)[forgery]])
    assert refused(producers, record).endswith("the key was replaced")


def test_a_service_cannot_make_itself_the_key_publisher(pki: Pki, hands: Hands, producers: Producers) -> None:
    """What vouches for itself is the key publisher's own certificate, not whoever signs his own state."""
    newcomer = pki.producer("posting")
    state = key_state(newcomer, "producer", "posting", pki)
    alone = Hands(pki, {KEY_PUBLISHER: newcomer, "posting": newcomer})
    producers.learn([alone.event(topics.KEYS, state, by=KEY_PUBLISHER)])
    assert refused(producers, alone.event(REJECTED, rejection(), by="posting")) == UNKNOWN_KEY


def test_hostile_records_on_the_keys_topic_cost_bounded_memory_and_raise_nothing(
    pki: Pki, hands: Hands, producers: Producers, record: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = key_state(hands.of("posting"), "producer", "posting", pki)
    lost = Hands(pki).event(topics.KEYS, state, by=KEY_PUBLISHER)
    for value in (b"", b"\xff", b"{}", state.model_copy(update={"chain": (b"x",)}).model_dump_json().encode()):
        producers.learn([replace(lost, value=value)])
    producers.learn([lost] * 3_000)
    assert len(producers._unresolved) <= 1_000
    monkeypatch.delattr("libs.bus.producers.genuine_key")  # a thousand are not judged again with each that comes
    producers.learn([])
    assert isinstance(judged(producers, record), Delivery)


def test_what_waited_in_a_table_is_checked_again(producers: Producers, record: Record) -> None:
    """Who can write the table can write no event."""
    due = Due(
        id=uuid4(), what=REJECTED.name, request_id=None, why="", tries=0, content_hash=b"", record=record,
        appended_at=NOW, created_at=NOW, now=NOW, at=NOW, leased_until=NOW, partition=0, offset=0,
    )  # fmt: skip
    assert isinstance(decode_parked(REJECTED, due, producers.judge), Delivery)
    altered = replace(due, record=replace(record, value=record.value.replace(b"BB1", b"BB2")))
    found = decode_parked(REJECTED, altered, producers.judge)
    assert isinstance(found, Undecodable)
    assert (found.forged, found.parked) == (True, altered)


def test_who_knows_no_producers_believes_none(record: Record) -> None:
    found = decode(REJECTED, raw(record))
    assert isinstance(found, Undecodable)
    assert found.forged


def test_a_record_is_signed_as_it_is_judged(pki: Pki, producers: Producers, hands: Hands, record: Record) -> None:
    """The one place that signs: the same record has the same bytes, and a topic without producers is left as it is."""
    signer = EventSigner(hands.secret("posting").get_secret_value(), known=producers.knows)
    bare = without_signature(record)
    assert signer(REJECTED, bare) == record
    verified = replace(bare, topic=topics.VERIFIED.name)
    assert signer(topics.VERIFIED, verified) is verified


def test_nothing_is_emitted_while_nobody_can_know_the_key(record: Record) -> None:
    """It would be a dead letter at every consumer."""
    pem = new_signing_key()
    own = public_key_id(read_signing_key(pem).public_key())
    known: set[str] = set()
    signer = EventSigner(pem, known=known.__contains__)
    with pytest.raises(Unavailable, match=PRODUCER_KEY):
        signer(REJECTED, without_signature(record))
    known.add(own)
    assert signature_of(signer(REJECTED, without_signature(record)))


def test_without_a_key_a_signed_topic_cannot_be_written_at_all(record: Record) -> None:
    with pytest.raises(RuntimeError, match="no key to sign with"):
        unsigned(REJECTED, record)
    assert unsigned(topics.VERIFIED, record) is record


def test_a_key_that_is_none_is_refused_without_its_content() -> None:
    with pytest.raises(ConfigurationError) as refusal:
        EventSigner(b"rahsia", known=lambda _: True)
    assert "rahsia" not in str(refusal.value)
