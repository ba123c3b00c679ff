"""iGFMAS on Kafka: produces its requests, and follows the chain from the moment it connected.

An integration needs `completed` alone. The demonstration follows every stage, as the monitor will, to show it moving.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Final, Self
from uuid import UUID

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord, TopicPartition

from libs.bus import defences
from libs.bus.reader import partitions_of
from libs.bus.subscriber import FETCH_WAIT_MS, FETCHER_ROUND_MS
from libs.contracts import topics
from libs.contracts.base import Event
from libs.contracts.cloudevents import encode
from libs.contracts.enrolment import ApplicationRefused
from libs.contracts.log import CheckpointCountersigned, LogTile
from libs.contracts.state import Certificate, Key, User
from libs.contracts.topics import MAX_RECORD_BYTES, Topic
from libs.runtime.clock import Clock
from libs.runtime.kafka_access import KafkaAccess
from services.igfmas.keys import CALLER
from services.igfmas.observation import Observation
from services.igfmas.signing_log import SigningLogSeen

DOCUMENTS: Final = (topics.SIGNED, topics.VERIFIED, topics.POSTED)
"""Read by a consumer of their own: each of aiokafka's fetches names all partitions that its consumer has."""

_BY_VALUE: Final = (
    topics.OTP_DISPATCHED,
    topics.AUTHORISATION_FAILED,
    topics.REJECTED,
    topics.COMPLETED,
)
_BY_KEY: Final = (
    topics.REQUESTED,
    topics.MEDIUM_RESOLVED,
    topics.AUTHORISATION_SUBMITTED,
    topics.AUTHORISATION_SUBMITTED_BULK,
)
"""Their key is the request; their value, a whole manifest, need not be read."""

_STATE: Final = (topics.USER, topics.CERTIFICATE, topics.APPLICATION_REFUSED)
_LOG: Final = (topics.LOG_COUNTERSIGNED, topics.LOG_TILE)
"""For the receipts."""
_ENROLMENT: Final = (
    topics.APPLICATION_SUBMITTED,
    topics.DEVICE_REGISTRATION_SUBMITTED,
    topics.KEY_REQUESTED,
    topics.CERTIFICATE_REQUESTED,
)
_DEAD: Final = {
    topic.dead_letter
    for topic in (
        *(*_BY_VALUE, *DOCUMENTS, *_BY_KEY, *_STATE, *_ENROLMENT),
        *(topics.REVOCATION_REQUESTED, topics.SUSPENSION_REQUESTED, topics.LIFTING_REQUESTED),
    )
}

POLL_MS: Final = 100
GATHER: Final = 0.05
"""Seconds between polls of documents: many cost little more than few."""

REQUEST_MS: Final = 10_000
"""Until a broker that took a question and does not answer is asked again; aiokafka's own bound is 40 s."""

SEND_SECONDS: Final = 20.0
"""Until a record has to be on the broker. One that was handed to a frozen broker holds up its partition as long."""

DRAIN_SECONDS: Final = 15.0


class ChainError(Exception):
    """Kafka did not answer, or a record on it is not of its topic's form."""


class NotInTime(Exception):
    """What was waited for did not happen in time; the text says what."""


class Chain:
    """Producer and follower, of these topics of documents, or of none. Enter it once; used from one event loop.

    It produces as `kafka`, the caller, who may read little more than the ends; it follows as `observer`.
    """

    def __init__(
        self,
        kafka: KafkaAccess,
        observer: KafkaAccess,
        observation: Observation,
        clock: Clock,
        documents: Sequence[Topic] = DOCUMENTS,
    ) -> None:
        self.observation = observation
        self.users: dict[str, User] = {}
        self.certificates: dict[UUID, Certificate] = {}
        self.refused: dict[UUID, ApplicationRefused] = {}
        self.keys: dict[str, Key] = {}
        self.log = SigningLogSeen()
        self._clock = clock
        self._producer = AIOKafkaProducer(
            **kafka.options(), client_id=CALLER, acks="all", enable_idempotence=True,
            max_request_size=MAX_RECORD_BYTES, linger_ms=2, request_timeout_ms=int(1_000 * SEND_SECONDS),
        )  # fmt: skip
        self._requests, self._documents = (
            AIOKafkaConsumer(
                **observer.options(), client_id=CALLER, enable_auto_commit=False,
                max_partition_fetch_bytes=MAX_RECORD_BYTES, request_timeout_ms=REQUEST_MS,
                fetch_max_wait_ms=FETCH_WAIT_MS, consumer_timeout_ms=FETCHER_ROUND_MS,
            ) for _ in range(2)
        )  # fmt: skip
        self._topics = {topic.name: topic for topic in (*_BY_VALUE, *_BY_KEY, *_STATE, *_LOG, topics.KEYS, *documents)}
        self._document_topics = tuple(documents)
        self._changed = asyncio.Condition()
        self._reading: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        defences.install()
        try:
            await self._producer.start()
            for consumer in (self._requests, self._documents):
                await consumer.start()
            await self._assign()
        except BaseException:
            await self._close()
            raise
        self._reading = [
            asyncio.create_task(self._read(self._requests, pause=0)),
            *([asyncio.create_task(self._read(self._documents, pause=GATHER))] if self._document_topics else []),
        ]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._close()

    async def send(self, topic: Topic, event: Event) -> None:
        """Publish; returns when the broker has it (acks=all). Raises KafkaError, TimeoutError: then send it again."""
        record = encode(topic, event, source=CALLER, time=self._clock())
        async with asyncio.timeout(SEND_SECONDS):
            await self._producer.send_and_wait(
                record.topic, value=record.value, key=record.key, headers=list(record.headers)
            )

    async def wait(self, condition: Callable[[], bool], what: str, *, seconds: float) -> None:
        """Return when what was read makes the condition true. Raises NotInTime, ChainError."""
        try:
            async with asyncio.timeout(seconds), self._changed:
                await self._changed.wait_for(lambda: condition() or self._failed())
        except TimeoutError:
            raise NotInTime(f"{what}: not within {seconds:.0f} s") from None
        if self._failed() and not condition():
            raise ChainError(f"following the chain ended while waiting for: {what}") from self._failure()

    async def drain(self) -> None:
        """Read everything that is on the topics now: a second posting would come late. Raises NotInTime, ChainError."""
        for consumer in (self._requests, self._documents):
            assigned = list(consumer.assignment())
            ends = await consumer.end_offsets(assigned) if assigned else {}
            for partition, end in ends.items():
                deadline = time.monotonic() + DRAIN_SECONDS
                while await consumer.position(partition) < end:
                    if self._failed():
                        raise ChainError("following the chain ended") from self._failure()
                    if time.monotonic() > deadline:
                        raise NotInTime(f"reading {partition.topic} to its end: not within {DRAIN_SECONDS:.0f} s")
                    await asyncio.sleep(POLL_MS / 1000)

    async def _assign(self) -> None:
        """From now on; but the keys from their beginning, since ours were published before we came."""
        documents = partitions_of(self._document_topics)
        keys = partitions_of([topics.KEYS])
        requests = [
            *partitions_of([*_BY_VALUE, *_BY_KEY, *_STATE, *_LOG]),
            *(TopicPartition(name, 0) for name in sorted(_DEAD)),
        ]
        self._documents.assign(documents)
        self._requests.assign([*requests, *keys])
        for consumer, partitions in ((self._documents, documents), (self._requests, requests)):
            if partitions:  # none would be all that are assigned, of which there must be some
                await consumer.seek_to_end(*partitions)
            for partition in partitions:
                await consumer.position(partition)  # resolves the seek: what comes after this call is read
        await self._requests.seek_to_beginning(*keys)

    async def _read(self, consumer: AIOKafkaConsumer, *, pause: float) -> None:
        try:
            while True:
                batches = await consumer.getmany(timeout_ms=POLL_MS)
                for batch in batches.values():
                    for record in batch:
                        self._take(record)
                if batches:
                    async with self._changed:
                        self._changed.notify_all()
                    await asyncio.sleep(pause)
        finally:
            # not under the lock: this task may be cancelled, and whoever waits has to see that it ended
            asyncio.get_running_loop().call_soon(lambda: asyncio.ensure_future(self._wake()))

    async def _wake(self) -> None:
        async with self._changed:
            self._changed.notify_all()

    def _take(self, record: ConsumerRecord) -> None:
        if record.topic in _DEAD:
            self.observation.dead.append(record.topic)
            return
        topic = self._topics[record.topic]
        try:
            if topic in _BY_KEY:
                self.observation.see(topic, UUID((record.key or b"").decode()), None, record.timestamp)
                return
            event = topic.event.model_validate_json(record.value)
            if not self._keep_state(event):
                request_id: UUID = event.request_id  # type: ignore[attr-defined]  # every event of a request has it
                self.observation.see(topic, request_id, event, record.timestamp)
        except ValueError:
            return  # no event of its topic: the services bury it, and the dead letter is counted above

    def _keep_state(self, event: Event) -> bool:
        match event:
            case User():
                self.users[event.user] = event
            case Certificate():
                self.certificates[event.credential_id] = event
            case Key():
                self.keys[event.key_id] = event
            case LogTile() | CheckpointCountersigned():
                self.log.take(event)
            case ApplicationRefused():
                self.refused[event.application] = event
            case _:
                return False
        return True

    def _failed(self) -> bool:
        return any(reading.done() for reading in self._reading)

    def _failure(self) -> BaseException | None:
        ended = [reading for reading in self._reading if reading.done() and not reading.cancelled()]
        return next((reading.exception() for reading in ended), None)

    async def _close(self) -> None:
        for reading in self._reading:
            reading.cancel()
        await asyncio.gather(*self._reading, return_exceptions=True)
        await self._requests.stop()
        await self._documents.stop()
        await self._producer.stop()
