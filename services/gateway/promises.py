"""What a call publishes: promised in the database first, then published, and only then answered."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from libs.bus.outcomes import Emit, Unavailable
from libs.bus.publisher import BROKER, Publisher
from libs.bus.signing import Sign
from libs.contracts.cloudevents import Record, encode_with_id
from libs.contracts.ids import event_id_of
from libs.contracts.problems import ProblemCode
from libs.runtime.clock import Clock
from libs.storage import ledger
from libs.storage.pool import Connection, Pool
from services.gateway import store
from services.gateway.access import ACQUIRE_TIMEOUT
from services.gateway.authentication import Caller
from services.gateway.problems import ProblemError
from services.gateway.store import SQL
from services.gateway.timeline import Advance, Kind

MAX_PUBLISHING: Final = 32
"""Publishes under way in this process: one goes on when its call was answered 503, and holds up to 2.5 MB."""

PUBLISH_WAIT: Final = 8.0
"""Seconds that a call waits for the broker; below the patience of a client."""


@dataclass(frozen=True, slots=True)
class Call:
    """A caller's call about its own request. `trace` is its `traceparent`."""

    request_id: UUID
    caller: Caller
    idempotency_key: str
    trace: str


@dataclass(frozen=True, slots=True)
class Promise:
    """The events to publish, at least one, and the name by which the answer calls them (`attempt`, `cancellation`).

    `sealed`: it carries a PIN, and is kept until it is published and no longer; it is one event, so that its content
    can go with it. `write` writes more in the transaction of the promise; what it raises unmakes the promise.
    """

    emits: tuple[Emit, ...]
    name: str
    sealed: bool
    write: Callable[[Connection], Awaitable[None]] | None = None

    def __post_init__(self) -> None:
        if self.sealed and len(self.emits) != 1:
            raise ValueError("a sealed promise is one event")


@dataclass(frozen=True, slots=True)
class _Stored:
    """`cause`: what the events of the promise are recorded under."""

    cause: UUID
    name: str


def at_most(calls: int, kind: Kind, request_id: UUID) -> Callable[[Connection], Awaitable[None]]:
    """A `write` that refuses what would be one call of this kind too many: most carry their request's whole manifest.

    Raises ProblemError. Calls at the same time are counted one after the other, under the request's row lock.
    """

    async def write(connection: Connection) -> None:
        await connection.execute(SQL["lock"], request_id)
        if await connection.fetchval(SQL["calls"], request_id, kind) >= calls:
            raise ProblemError(ProblemCode.TOO_MANY_CALLS)

    return write


class Promises:
    """Publishes the events of one promise per caller and idempotency key. Any number of replicas."""

    def __init__(self, *, service: str, pool: Pool, publisher: Publisher, clock: Clock, sign: Sign) -> None:
        self._service = service
        self._pool = pool
        self._publisher = publisher
        self._clock = clock
        self._sign = sign
        self._publishing: set[asyncio.Task[None]] = set()
        self._room = asyncio.Semaphore(MAX_PUBLISHING)

    async def keep(
        self,
        call: Call,
        body_hash: bytes,
        make: Callable[[Connection], Awaitable[Promise]],
        row: Callable[[UUID, str, datetime], Advance] | None = None,
    ) -> str:
        """The promise's name, once it is published; a retry whose publish was not recorded publishes the same again.

        `body_hash` is what makes two calls the same call. `make` is asked for a key's first call only, `row` for what
        the timeline says of the promise, whoever publishes it and whenever. Two calls at the same time may publish it
        twice, under the same event ids. Raises ProblemError, Unavailable, and what `make` raises.
        """
        async with self._pool.acquire(timeout=ACQUIRE_TIMEOUT) as connection:
            stored = await _stored(connection, call, body_hash)
            if stored is None:
                promise = await make(connection)
                said = [] if row is None else [row(call.request_id, promise.name, self._clock())]
                stored = await self._store(connection, call, body_hash, promise, said)
            waiting = await ledger.unpublished(connection, [stored.cause])
        if waiting:
            await self._publish([record for _, record in waiting])
            async with self._pool.acquire(timeout=ACQUIRE_TIMEOUT) as connection:
                await ledger.mark_published(connection, [identifier for identifier, _ in waiting])
        return stored.name

    async def _store(
        self, connection: Connection, call: Call, body_hash: bytes, promise: Promise, said: Sequence[Advance]
    ) -> _Stored:
        records = await asyncio.to_thread(self._encoded, promise.emits, call.trace)
        cause = _cause([identifier for identifier, _ in records])
        async with connection.transaction():
            if await connection.fetchval(SQL["contradicted"], cause, body_hash):
                # The same sealed blob with another sealing key: it would be an id conflict to the signer.
                raise ProblemError(ProblemCode.IDEMPOTENCY_KEY_REUSED)
            is_first = await connection.fetchval(
                SQL["add_submission"],
                call.caller.name,
                call.idempotency_key,
                body_hash,
                promise.name,
                cause,
                promise.sealed,
            )
            if is_first:
                outcomes = [ledger.Outcome(identifier, cause, record) for identifier, record in records]
                await ledger.record(connection, outcomes)
                if promise.write is not None:
                    await promise.write(connection)
                await store.advance(connection, said)
        # A twin that was faster may have promised something else under this key.
        return await _stored(connection, call, body_hash) or _Stored(cause, promise.name)

    def _encoded(self, emits: Sequence[Emit], trace: str) -> list[tuple[UUID, Record]]:
        """The records to publish. About 6 µs a document: off the event loop."""
        now = self._clock()
        made = [
            (emit.topic, *encode_with_id(emit.topic, emit.event, source=self._service, time=now, trace=trace))
            for emit in emits
        ]
        return [(identifier, self._sign(topic, record)) for topic, identifier, record in made]

    async def _publish(self, records: Sequence[Record]) -> None:
        """Publish, or say that the broker is away while the publisher goes on trying: it is not safe to cancel."""
        try:
            async with asyncio.timeout(PUBLISH_WAIT):
                await self._room.acquire()
                publishing = asyncio.create_task(self._publisher.publish(records))
                self._publishing.add(publishing)
                publishing.add_done_callback(self._published)
                await asyncio.wait({publishing})
        except TimeoutError:
            raise Unavailable(BROKER) from None
        publishing.result()

    def _published(self, publishing: asyncio.Task[None]) -> None:
        self._publishing.discard(publishing)
        self._room.release()
        if not publishing.cancelled():
            publishing.exception()  # marks it as seen: its call may have been answered already


def _cause(event_ids: Sequence[UUID]) -> UUID:
    """The same for the same events: of a single one its own id."""
    return event_ids[0] if len(event_ids) == 1 else event_id_of("promise", *event_ids)


async def _stored(connection: Connection, call: Call, body_hash: bytes) -> _Stored | None:
    row = await connection.fetchrow(SQL["submission"], call.caller.name, call.idempotency_key)
    if row is None:
        return None
    if row["body_hash"] != body_hash:
        raise ProblemError(ProblemCode.IDEMPOTENCY_KEY_REUSED)
    return _Stored(row["event_id"], row["attempt"])
