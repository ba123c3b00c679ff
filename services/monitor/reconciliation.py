"""Looks at what does not agree: an alarm once per document, and ages for whoever watches."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final

import structlog

from libs.bus.state import caught_up
from libs.contracts import topics
from libs.runtime import metrics
from libs.runtime.clock import Clock
from libs.runtime.kafka_access import KafkaAccess
from libs.storage.pool import Pool
from services.monitor import store
from services.monitor.store import Kind, Late

NAMED: Final = 5
"""Documents that one alarm names."""

CATCH_UP: Final = 30.0
"""Seconds that a look waits for the reading; then nothing is told, and the next look tries again."""

EVIDENCE: Final = (topics.SIGNED, topics.TOKEN_SIGNED, topics.POSTED, topics.REJECTED)
"""What answers: before an alarm, the monitor must have read what is on these now."""

log = structlog.get_logger()


class Reconciliation:
    """One look at a time."""

    def __init__(
        self, *, service: str, kafka: KafkaAccess, pool: Pool, clock: Clock, after: Mapping[Kind, timedelta]
    ) -> None:
        """`after`: the age at which what is open of each kind is an alarm."""
        self._service = service
        self._kafka = kafka
        self._pool = pool
        self._clock = clock
        self._after = after

    async def look(self) -> None:
        """Measure, and tell what is late. Raises what the database raises, and TimeoutError while reading is behind."""
        now = self._clock()
        before = {kind: now - after for kind, after in self._after.items()}
        found = await self._open(before)
        if found.untold:
            # Ours to be behind: what answers may lie on the topics already.
            async with asyncio.timeout(CATCH_UP):
                await caught_up(self._kafka, self._service, EVIDENCE)
            for kind, then in before.items():
                async with self._pool.acquire() as connection, connection.transaction():
                    late = await store.tell_late(connection, kind, then)
                    if late:  # within the transaction: an alarm may come twice after a crash, and is never missed
                        self._tell(kind, late, now)
            found = await self._open(before)
        self._measure(found, now)
        async with self._pool.acquire() as connection:
            answered = await store.answered(connection)
        if answered:
            log.info("reconciled", documents=len(answered), examples=_named(answered))

    async def _open(self, before: dict[Kind, datetime]) -> store.Open:
        async with self._pool.acquire() as connection:
            return await store.still_open(connection, before)

    def _measure(self, found: store.Open, now: datetime) -> None:
        late = {
            "signed-not-posted": found.unposted,
            "token-signed-not-posted": found.token_unposted,
            "posted-not-signed": found.unsigned,
        }
        oldest = {
            "signed-not-posted": found.unposted_since,
            "token-signed-not-posted": found.token_unposted_since,
            "posted-not-signed": found.unsigned_since,
            "request-open": found.request_since,
        }
        for kind, count in late.items():
            metrics.UNRECONCILED.labels(self._service, kind).set(count)
        for kind, since in oldest.items():
            metrics.OLDEST_SECONDS.labels(self._service, kind).set((now - since).total_seconds() if since else 0)

    def _tell(self, kind: Kind, late: Sequence[Late], now: datetime) -> None:
        details = {
            "documents": len(late),
            "oldest_seconds": round((now - min(one.since for one in late)).total_seconds()),
            "examples": _named([(one.request_id, one.document_id) for one in late]),
        }
        if kind == "signed-not-posted":
            metrics.alarm(self._service, "signed-not-posted", **details)
        elif kind == "token-signed-not-posted":
            metrics.alarm(self._service, "token-signed-not-posted", **details)
        else:
            metrics.alarm(self._service, "posted-not-signed", **details)


def _named(keys: Sequence[tuple[object, str]]) -> list[str]:
    return [f"{request_id} {document_id}" for request_id, document_id in keys[:NAMED]]
