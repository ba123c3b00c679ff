"""Who may write `gpki.keys.v1` writes over a producer's key: believed by nobody, it stays when the topic is compacted.

A service that starts later reads what is left. So certificate_authority looks at what the topic ends with, and says it
again; without that look the attacks succeed, for whoever starts after the compaction.
"""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding
from pydantic import SecretStr
from structlog.testing import capture_logs

from libs.bus import producers
from libs.bus.producers import UNKNOWN_KEY, Producers
from libs.contracts import topics
from libs.contracts.cloudevents import Record
from libs.contracts.event_signature import HEADER
from libs.contracts.state import Key
from libs.gpki_client.errors import ForgedEventError, UnknownProducerError
from libs.gpki_client.producers import EventRecord, ProducerKeys
from libs.runtime.kafka_access import KafkaAccess
from services.certificate_authority import handlers
from services.certificate_authority.keys_topic import KeysTopic
from tests.integration.certificate_authority.conftest import Authority, authority, token
from tests.integration.certificate_authority.test_provisioning import published
from tests.support.pki import EPOCH, Pki
from tests.support.producers import Hands, append
from tests.support.requests import key_state
from tests.support.waiting import eventually
from tests.unit.bus.test_producers import rejection

__all__ = ["authority", "token"]

NOBODY = KafkaAccess("nowhere:1", "nobody", SecretStr("x"))


def compacted(records: list[Record]) -> list[Record]:
    """What stays of a topic: the last record of each key."""
    return list({record.key: record for record in records}.values())


class Reading:
    """Those who read the keys' topic: a service, and the SDK."""

    def __init__(self, tree: Pki, hands: Hands) -> None:
        root = tree.service_root.certificate.public_bytes(Encoding.DER)
        self.service, self.sdk, self.hands = Producers(NOBODY, root), ProducerKeys(root), hands

    def learn(self, records: list[Record]) -> "Reading":
        self.service.learn(records)
        self.sdk.learn([as_read(record) for record in records])
        return self

    def says(self) -> str | None:
        """Why an event of posting, by its key, is refused now; the SDK says so of its end of a request."""
        record = self.hands.event(topics.REJECTED, rejection(), by="posting")
        why = self.service.judge(topics.REJECTED, record, EPOCH)
        end = self.hands.sign(Record(topics.COMPLETED.name, b"k", b"{}", (("ce_source", b"/gpki/posting"),)), "posting")
        try:
            self.sdk.check(as_read(end))
        except UnknownProducerError:
            assert why == UNKNOWN_KEY
        except ForgedEventError:
            assert why == "producer signature: the key was replaced"
        else:
            assert why is None
        return why


def as_read(record: Record) -> EventRecord:
    return EventRecord(record.topic, record.key, record.value, record.headers, EPOCH)


def test_what_is_written_over_a_key_replaces_it_for_nobody_who_reads_and_only_compaction_loses_it() -> None:
    """I-17, I-38: rubbish, nothing, an unsigned state, another chain, a stranger's signature."""
    tree = Pki()
    hands, theirs = Hands(tree), Pki()
    genuine = hands.keys(of=["posting"])
    (own,) = [one for one in genuine if Key.model_validate_json(one.value).owner == "posting"]
    state = Key.model_validate_json(own.value)
    other = key_state(theirs.producer("posting"), "producer", "posting", theirs, version=9)
    later = state.model_copy(update={"version": 9, "chain": other.chain})
    stranger = Hands(theirs).event(topics.KEYS, later, by=producers.KEY_PUBLISHER)
    forged = [
        replace(own, value=b"rubbish"),
        replace(own, value=b""),
        replace(own, headers=tuple(one for one in own.headers if one[0] != HEADER)),
        replace(stranger, key=own.key),
        hands.event(topics.KEYS, later, by="hsm_signer"),
    ]
    for one in forged:
        assert Reading(tree, hands).learn([*genuine, one]).says() is None
        assert Reading(tree, hands).learn(genuine).learn([one]).says() is None, "who runs already"
        assert Reading(tree, hands).learn(compacted([*genuine, one])).says() == UNKNOWN_KEY, "it is lost"
        assert Reading(tree, hands).learn(compacted([*genuine, one, own])).says() is None, "said again"


def test_a_replaced_key_is_brought_back_by_what_was_said_before_only_where_nothing_later_is_left() -> None:
    """I-38: the authority's own word of once; who has the stolen key is a producer again."""
    tree = Pki()
    hands = Hands(tree)
    good = hands.keys(of=["posting"])
    (own,) = [one for one in good if Key.model_validate_json(one.value).owner == "posting"]
    state = Key.model_validate_json(own.value).model_copy(
        update={"version": 2, "retired_at": EPOCH - timedelta(hours=1)}
    )
    replaced = hands.event(topics.KEYS, state, by=producers.KEY_PUBLISHER)
    why = "producer signature: the key was replaced"
    assert Reading(tree, hands).learn([*good, replaced, own]).says() == why
    assert Reading(tree, hands).learn(compacted([*good, replaced, own])).says() is None, "undefended"
    assert Reading(tree, hands).learn(compacted([*good, replaced, own, replaced])).says() == why, "said again"


async def test_a_topic_that_cannot_be_read_was_not_written_over() -> None:
    """I-6: it could not be asked; the next look asks again, and what is new is published all the same."""
    (record,) = Hands(Pki()).keys(of=[])
    nowhere = KafkaAccess("127.0.0.1:1", "nobody", SecretStr("x"))
    assert await KeysTopic(nowhere, topics.KEYS, service="certificate_authority").written_over([record]) == []


OVER: dict[str, Callable[[Record, Record], Any]] = {
    "rubbish": lambda newest, _: replace(newest, value=b"rubbish"),
    "nothing": lambda newest, _: replace(newest, value=None),  # type: ignore[arg-type]  # Kafka's own deletion
    "without its signature": lambda newest, _: replace(newest, headers=newest.headers[:-1]),
    "what was said before it was replaced": lambda _, first: first,
}


@pytest.mark.stack
@pytest.mark.parametrize("defence", ["on", "off"])
@pytest.mark.parametrize("what", OVER)
async def test_the_authority_says_again_what_somebody_wrote_over(
    authority: Authority, monkeypatch: pytest.MonkeyPatch, what: str, defence: str
) -> None:
    """I-38: the topic ends with its own last word on each key, and one alarm says whose record was written over."""
    looks = 0

    async def looked(self: KeysTopic, said: Any) -> Any:
        nonlocal looks
        found = await genuine(self, said)
        looks += 1
        return found if defence == "on" else []

    genuine = KeysTopic.written_over
    monkeypatch.setattr(KeysTopic, "written_over", looked)
    monkeypatch.setattr(handlers, "KEYS_EVERY", timedelta(milliseconds=200))
    await published(authority, 4)
    authority.ask("producer", "otp_dispatch", Ed25519PrivateKey.generate())
    await authority.init()  # and so the key of before is replaced
    await published(authority, 6)
    (key,) = [one.key.encode() for one in authority.key_states() if one.version == 2]

    async def said() -> list[Record]:
        await authority.tap.read()
        read = authority.tap.of(authority.routes.keys)
        return [Record(one.topic, one.key, one.value or b"", tuple(one.headers)) for one in read if one.key == key]

    first, newest = await said()
    await append(authority.room.stack, OVER[what](newest, first))
    assert (await said())[-1] != newest
    looks = 0
    with capture_logs() as logs:
        async with authority.running():
            await eventually(lambda: looks > 3, "it looked")
    assert ((await said())[-1] == newest) == (defence == "on")
    alarms = [one["keys"] for one in logs if one.get("alarm") == "keys-written-over"]
    assert [key.decode()] in alarms
    if defence == "on":
        assert len(alarms) == 1
