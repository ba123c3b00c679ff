"""Producers of a test: keys under the test's service root, what `gpki.keys.v1` says of them, and their events."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from aiokafka import AIOKafkaProducer
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from pydantic import SecretBytes

from libs.bus.producers import KEY_PUBLISHER
from libs.bus.signing import PRODUCER_KEY
from libs.contracts import topics
from libs.contracts.base import Event
from libs.contracts.cloudevents import Record, encode
from libs.contracts.event_signature import with_signature
from libs.contracts.topics import MAX_RECORD_BYTES, Topic
from libs.crypto.public_keys import public_key_id
from libs.crypto.requests import read_signing_key
from libs.runtime.clock import utc_now
from tests.support.pki import Identity, Pki
from tests.support.requests import key_id, key_state
from tests.support.stack import Stack

EVERYBODY = sorted({name for topic in topics.TOPICS.values() for name in topic.producers})


@dataclass
class Hands:
    """One key per producer, made when it is first asked for."""

    pki: Pki
    identities: dict[str, Identity[Ed25519PrivateKey]] = field(default_factory=dict)

    def of(self, name: str) -> Identity[Ed25519PrivateKey]:
        """The identity of this producer."""
        if name not in self.identities:
            self.identities[name] = self.pki.producer(name)
        return self.identities[name]

    def secret(self, name: str) -> SecretBytes:
        """The content of its file `producer_key`."""
        key = self.of(name).key
        return SecretBytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))

    def sign(self, record: Record, by: str) -> Record:
        """With this producer's signature."""
        identity = self.of(by)
        return with_signature(record, key_id(identity), identity.key.sign)

    def event(self, topic: Topic, event: Event, *, by: str = "", source: str = "") -> Record:
        """The record of an event as its producer, or another one, publishes it."""
        name = by or topic.producers[0]
        return self.sign(encode(topic, event, source=source or name, time=utc_now()), name)

    def keys(self, topic: Topic = topics.KEYS, *, of: Iterable[str] = EVERYBODY) -> list[Record]:
        """What the keys' topic says of these, in the word of the key publisher, whose own key is among them."""
        states = [key_state(self.of(name), "producer", name, self.pki) for name in {KEY_PUBLISHER, *of}]
        return [self.event(topic, state, by=KEY_PUBLISHER) for state in states]


def as_service(stack: Stack, topic: Topic, event: Event, *, by: str = "", source: str = "") -> Record:
    """The record of an event with the key of a service of a full stack, of the topic's first producer unless told."""
    name = by or topic.producers[0]
    return signed_as_service(stack, encode(topic, event, source=source or name, time=utc_now()), name)


def signed_as_service(stack: Stack, record: Record, name: str) -> Record:
    """Any record, signed with the key of this service of a full stack."""
    key = read_signing_key((stack.layout.secrets(name) / PRODUCER_KEY).read_bytes())
    return with_signature(record, public_key_id(key.public_key()), key.sign)


async def send_as_service(stack: Stack, topic: Topic, event: Event) -> None:
    """Publish what a service of a full stack publishes, with its key."""
    await append(stack, as_service(stack, topic, event))


async def append(stack: Stack, *records: Record) -> None:
    """Write records as they stand, as whoever may write anything on the broker."""
    producer = AIOKafkaProducer(**stack.kafka.options(), max_request_size=MAX_RECORD_BYTES)
    await producer.start()
    try:
        for record in records:
            await producer.send_and_wait(record.topic, value=record.value, key=record.key, headers=list(record.headers))
    finally:
        await producer.stop()
