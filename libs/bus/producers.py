"""The one place where a producer's signature is checked before a handler sees its event (design section 4.7).

Each process keeps the producers' keys of `gpki.keys.v1` in memory: it reads the topic to its end before it consumes
anything, again when a signature names a key that it does not know, and every LOOK_EVERY.
"""

import asyncio
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import structlog
from aiokafka import AIOKafkaConsumer
from aiokafka.errors import KafkaError
from pydantic import ValidationError

from libs.bus import defences
from libs.bus.delivery import record_of
from libs.bus.outcomes import Unavailable
from libs.bus.publisher import BROKER
from libs.bus.reader import partitions_of, up_to
from libs.bus.trust import genuine_key
from libs.contracts import topics
from libs.contracts.cloudevents import Record
from libs.contracts.event_signature import signature_input, signature_of
from libs.contracts.state import Key
from libs.contracts.topics import Topic
from libs.crypto.service_certificates import ServiceIdentity
from libs.crypto.signatures import verify
from libs.runtime.kafka_access import KafkaAccess

KEY_PUBLISHER: Final = "certificate_authority"
"""The one producer whose word on other producers' keys counts; what it says of its own key vouches for itself."""

LOOK_EVERY: Final = 30.0
"""Seconds between looks at the topic: for so long a key that was replaced may still be believed."""

LOOK_BOUND: Final = 5.0
"""Seconds for one look."""

FETCH_WAIT_MS: Final = 50
"""Milliseconds that a fetch stands at the broker: whatever else is asked waits behind it."""

UNRESOLVED: Final = 1_000
"""Key records kept whose signer is not known, or never: a writer of the topic cannot fill the memory with more."""

UNKNOWN_KEY: Final = "producer signature: the key is not known"
"""The one fault that reading `gpki.keys.v1` again may mend."""

log = structlog.get_logger()


@dataclass(frozen=True)
class _Known:
    identity: ServiceIdentity
    version: int
    retired_at: datetime | None


class Producers:
    """Who may write what, by `gpki.keys.v1`. Used from one event loop; `judge` and `knows` from any thread."""

    def __init__(self, kafka: KafkaAccess, service_root: bytes, topic: Topic = topics.KEYS) -> None:
        self._kafka = kafka
        self._partitions = partitions_of([topic])
        self._service_root = service_root
        self._consumer: AIOKafkaConsumer | None = None
        self._looking = asyncio.Lock()
        self._known: dict[str, _Known] = {}
        self._unresolved: list[tuple[Record, Key, ServiceIdentity]] = []

    async def aclose(self) -> None:
        """Disconnect; what is known stays known."""
        if self._consumer is not None:
            await self._consumer.stop()
            self._consumer = None

    async def keep(self) -> None:
        """Look again and again, until cancelled."""
        while True:
            await asyncio.sleep(LOOK_EVERY)
            try:
                await self.look()
            except Unavailable:
                log.warning("the producers' keys were not looked at")

    async def look(self) -> None:
        """Know what the topic says now; the first look connects, and reads all of it. Raises Unavailable."""
        try:
            async with self._looking, asyncio.timeout(LOOK_BOUND):
                await self._read_on(await self._connected())
        except (KafkaError, OSError) as error:  # TimeoutError is one
            raise Unavailable(BROKER) from error

    async def _connected(self) -> AIOKafkaConsumer:
        if self._consumer is None:
            defences.install()
            consumer = AIOKafkaConsumer(
                **self._kafka.options(),
                enable_auto_commit=False,
                auto_offset_reset="earliest",
                fetch_max_wait_ms=FETCH_WAIT_MS,
            )
            try:
                await consumer.start()
            except BaseException:
                await consumer.stop()
                raise
            consumer.assign(self._partitions)
            consumer.pause(*self._partitions)
            self._consumer = consumer
        return self._consumer

    async def _read_on(self, consumer: AIOKafkaConsumer) -> None:
        async for batch in up_to(consumer, await consumer.end_offsets(self._partitions)):
            self.learn([record_of(one) for one in batch])

    def learn(self, fresh: list[Record]) -> None:
        """Take in records of the keys' topic, in whatever order: one may be signed by the key of another behind it."""
        waiting = [*self._unresolved, *filter(None, map(self._producers_key, fresh))]
        left: list[tuple[Record, Key, ServiceIdentity]] = []
        while waiting:
            left = [one for one in waiting if not self._believe(*one)]
            if len(left) == len(waiting):
                break
            waiting = left
        self._unresolved = left[-UNRESOLVED:]

    def knows(self, key_id: str) -> bool:
        """Whether this is a producer's key that nothing has replaced."""
        known = self._known.get(key_id)
        return known is not None and known.retired_at is None

    def judge(self, topic: Topic, record: Record, appended_at: datetime) -> str | None:
        """Judge by what is known now: signature, key, validity when the broker took it, topic and `ce_source`."""
        found = signature_of(record)
        if found is None:
            return "producer signature: none"
        key_id, signature = found
        known = self._known.get(key_id)
        if known is None:
            return UNKNOWN_KEY
        identity, why = known.identity, ""
        if known.retired_at is not None and known.retired_at <= appended_at:
            why = "the key was replaced"
        elif identity.not_after < appended_at:
            why = "the certificate has expired"
        elif identity.name not in topic.producers:
            why = "not a producer of this topic"
        elif ("ce_source", f"/gpki/{identity.name}".encode()) not in record.headers:
            why = "ce_source is another's"
        elif not verify(identity.public_key, signature, signature_input(record)):
            why = "it does not hold"
        return f"producer signature: {why}" if why else None

    def _producers_key(self, record: Record) -> tuple[Record, Key, ServiceIdentity] | None:
        """What a record says of a producer's key, if its certificate does too; judged once, however long it waits."""
        try:
            key = Key.model_validate_json(record.value)
        except ValidationError:
            return None
        if key.purpose != "producer" or record.key != key.key.encode():
            return None
        identity = genuine_key(key, self._service_root)
        return None if identity is None else (record, key, identity)

    def _believe(self, record: Record, key: Key, identity: ServiceIdentity) -> bool:
        """Take in what the key publisher says of a producer's key; False when it may become believable yet."""
        found = signature_of(record)
        if found is None:
            return True  # never will be: forgotten
        signer = self._known[found[0]].identity if found[0] in self._known else None
        if signer is None and found[0] == key.key_id:
            signer = identity
        if signer is None:
            return False
        if signer.name == KEY_PUBLISHER and verify(signer.public_key, found[1], signature_input(record)):
            before = self._known.get(key.key_id)
            if before is None or before.version < key.version:
                self._known[key.key_id] = _Known(identity, key.version, key.retired_at)
        return True
