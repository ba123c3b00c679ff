"""Whether this database has what Kafka says that it had: one that was put back in time signs nothing (I-51).

What the signer has said (a code or PIN was wrong, a PIN changed, a document signed, a sealing key made) is recorded
before it is published, and a certificate is handled before its offset is committed. So an event of ours that is on
Kafka and not in the ledger, or a certificate before the committed offset that is not in the inbox, was in this
database once.
"""

import asyncio
from collections.abc import Collection, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Final
from uuid import UUID

import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from libs.bus.delivery import delivery_id
from libs.bus.outcomes import Unavailable
from libs.bus.reach import end_process
from libs.bus.reader import Raw, partitions_of
from libs.contracts import custody, topics
from libs.contracts.topics import Topic
from libs.runtime import metrics
from libs.runtime.health import Health
from libs.runtime.kafka_access import KafkaAccess
from libs.storage.errors import is_unavailable
from libs.storage.pool import Connection, Pool
from libs.storage.queries import load_queries
from services.hsm_signer.genuine import Genuine
from services.hsm_signer.reading import between, topic_reader

LOOK_EVERY: Final = 10.0
"""Seconds between looks; a database that is put back under a running signer is found within them."""

CHECK: Final = "history"
"""The health check."""

OURS: Final = (*custody.SAID, topics.KEYS)
"""Sealing keys are made daily and told for ever: by them a database is known that is older than all else on Kafka."""

_SQL = load_queries(Path(__file__).parent / "sql" / "history.sql")

BLIND_LOOKS: Final = 6
"""Looks in a row that fail before a person is called: who keeps it from looking may put the database back next."""

_HOLD: Final = """
SET LOCAL idle_in_transaction_session_timeout = '1min';
LOCK TABLE history, outcome, inbox IN ACCESS SHARE MODE
"""
"""Kafka is read while it holds. Nothing waits for it but who takes a table away, or changes one."""

_WRITES: Final = "SET LOCAL idle_in_transaction_session_timeout = DEFAULT"
"""From here on a replica waits for the rows."""

log = structlog.get_logger()


class WentBack(Exception):
    """The database does not have what it once had; says where that shows."""


class History:
    """Looks whether the database went back. Replicas may look at the same time."""

    def __init__(
        self,
        pool: Pool,
        kafka: KafkaAccess,
        genuine: Genuine,
        *,
        service: str = "hsm_signer",
        ours: Collection[Topic] = OURS,
        certificate: Topic = topics.CERTIFICATE,
    ) -> None:
        self._pool = pool
        self._kafka = kafka
        self._genuine = genuine
        self._source = f"/gpki/{service}".encode()
        self._group = f"{service}.state"
        self._topics = {topic.name: topic for topic in (*ours, certificate)}
        self._certificate = certificate
        self._seen: dict[TopicPartition, int] = {}

    async def wait(self, service: str, health: Health) -> None:
        """Return when the database has what Kafka says; until then nothing of the signer runs (I-51)."""
        told = False
        while True:
            self._seen = {}
            try:
                async with self._reader() as consumer:
                    await self.look(consumer)
            except WentBack as back:
                health.set(CHECK, ok=False, detail=str(back))
                if not told:
                    metrics.alarm(service, "custody-went-back", why=str(back))
                told = True
            except Exception as error:
                if not _is_away(error):
                    raise
                health.set(CHECK, ok=False, detail=type(error).__name__)
                log.warning("history cannot be read", error=type(error).__name__)
            else:
                health.set(CHECK, ok=True)
                return
            await asyncio.sleep(LOOK_EVERY)

    async def watch(self, service: str, health: Health) -> None:
        """Look again and again, until cancelled; a database that was put back meanwhile ends the process.

        While it cannot look, its health says so, and BLIND_LOOKS in a row are an alarm.
        """
        blind = 0
        while True:
            await asyncio.sleep(LOOK_EVERY)
            try:
                async with self._reader() as consumer:
                    while True:
                        await self.look(consumer)
                        health.set(CHECK, ok=True)
                        blind = 0
                        await asyncio.sleep(LOOK_EVERY)
            except WentBack as back:
                health.set(CHECK, ok=False, detail=str(back))
                metrics.alarm(service, "custody-went-back", why=str(back))
                end_process()
                return
            except Exception as error:  # noqa: BLE001 (broker or database is away, or somebody holds a table)
                blind += 1
                health.set(CHECK, ok=False, detail=type(error).__name__)
                log.warning("history cannot be read", error=type(error).__name__)
                if blind == BLIND_LOOKS:
                    metrics.alarm(service, "custody-unseen", error=type(error).__name__)

    async def look(self, consumer: AIOKafkaConsumer) -> None:
        """Compare from where the database was last known to agree, and keep up to where it does.

        The first look of a process reads all since then; later ones the newest record of each topic that carries a
        record per use, which costs the same under any load. The tables are held meanwhile: a database that is put back
        is put back before or after a look, not under what the look keeps. Raises WentBack, KafkaError, Unavailable.
        """
        went_back: WentBack | None = None
        try:
            async with self._pool.acquire() as connection, connection.transaction():
                await connection.execute(_HOLD)
                try:
                    until = await self._look(consumer, connection)
                except WentBack as back:
                    went_back = back
                    raise
        except Exception:
            if went_back is not None:  # a session that died meanwhile takes nothing of it back
                raise went_back from None
            raise
        self._seen = until

    async def _look(self, consumer: AIOKafkaConsumer, connection: Connection) -> dict[TopicPartition, int]:
        kept = await self._kept(connection)  # asked first: what a replica kept meanwhile lies before the ends
        until = await self._until(consumer)
        begins = await consumer.beginning_offsets(list(until))
        lost = sorted(place for place, seen in self._seen.items() if kept.get(place, 0) < min(seen, until[place]))
        if lost:
            raise WentBack(f"the database was put back while the signer ran: {lost[0].topic} {lost[0].partition}")
        spans = {}
        for place, end in until.items():
            start = max(kept.get(place, 0), begins[place])
            if place in self._seen and self._topics[place.topic].retention is not None:
                start = max(start, end - 1)
            spans[place] = (start, end)
        async for batch in between(consumer, spans):
            await self._compare(batch, connection)
        await connection.execute(_WRITES)
        await self._keep(until, kept, connection)
        return until

    def _reader(self) -> AbstractAsyncContextManager[AIOKafkaConsumer]:
        return topic_reader(self._kafka, self._group, self._topics.values())

    async def _kept(self, connection: Connection) -> dict[TopicPartition, int]:
        rows = await connection.fetch(_SQL["known_up_to"], list(self._topics))
        return {TopicPartition(row["topic"], row["partition"]): row["next_offset"] for row in rows}

    async def _until(self, consumer: AIOKafkaConsumer) -> dict[TopicPartition, int]:
        """Up to where the database must have everything by now."""
        until: dict[TopicPartition, int] = await consumer.end_offsets(partitions_of(self._topics.values()))
        for place in partitions_of([self._certificate]):
            until[place] = await consumer.committed(place) or 0
        return until

    async def _compare(self, batch: Sequence[Raw], connection: Connection) -> None:
        asked: dict[UUID, Raw] = {}
        for raw in batch:
            identifier = self._identifier(raw)
            if identifier is not None:
                asked[identifier] = raw
        if not asked:
            return
        topic = self._topics[batch[0].topic]
        query = _SQL["handled" if topic is self._certificate else "recorded"]
        known = {row["id"] for row in await connection.fetch(query, list(asked))}
        for identifier, raw in asked.items():
            if identifier in known:
                continue
            await connection.execute("SELECT")  # many forgeries take long to judge, and that is no silence
            if await self._genuine(topic, raw):
                raise WentBack(f"it does not know {raw.topic} {raw.partition}:{raw.offset}, which it once did")

    def _identifier(self, raw: Raw) -> UUID | None:
        """Under which the database has it, None for what is not for this database to know."""
        headers = dict(raw.headers)
        try:
            ce_id = (headers.get("ce_id") or b"").decode()
            if raw.topic == self._certificate.name:
                return delivery_id(self._certificate, ce_id)
            return UUID(ce_id) if headers.get("ce_source") == self._source else None
        except ValueError:
            return None

    async def _keep(
        self, until: dict[TopicPartition, int], kept: dict[TopicPartition, int], connection: Connection
    ) -> None:
        shrunk = {place: end for place, end in until.items() if end < kept.get(place, 0)}
        for place in shrunk:
            if place.topic != self._certificate.name:
                log.warning("the topic has less than the database has seen: it was made anew", topic=place.topic)
        moved = {place: end for place, end in until.items() if kept.get(place) != end}
        for query, places in (("begin_anew", shrunk), ("move_on", moved)):
            if places:
                await connection.execute(
                    _SQL[query],
                    [place.topic for place in places],
                    [place.partition for place in places],
                    list(places.values()),
                )


def _is_away(error: Exception) -> bool:
    return isinstance(error, KafkaError | Unavailable) or is_unavailable(error)
