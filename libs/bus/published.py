"""What a process has published and its ledger does not know of yet."""

import asyncio
from collections.abc import Coroutine, Iterable
from typing import Any
from uuid import UUID

from libs.contracts.cloudevents import Record
from libs.storage import ledger
from libs.storage.pool import Pool

MARK_TIMEOUT = 10.0
"""Seconds for the marks, and for those of others before them. What is not marked within them is marked with the next;
what a crash leaves comes again."""


class Published:
    """Event ids that the broker has acknowledged, until they are marked: one set for all consumers and timers.

    They come upon the same outcome: with one each, a timer that is due before the mark would publish it once more.
    """

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._unmarked: set[UUID] = set()
        self._marking = asyncio.Lock()

    def __contains__(self, event_id: UUID) -> bool:
        return event_id in self._unmarked

    def add(self, event_ids: Iterable[UUID]) -> None:
        """The broker has acknowledged these."""
        self._unmarked.update(event_ids)

    async def without(self, unpublished: Coroutine[Any, Any, list[tuple[UUID, Record]]]) -> list[tuple[UUID, Record]]:
        """What the ledger calls unpublished, without what we had published before it was asked.

        A coroutine, since it must not have begun: what is marked meanwhile is in its answer, and no longer in our set.
        """
        before = frozenset(self._unmarked)
        return [(event_id, record) for event_id, record in await unpublished if event_id not in before]

    async def mark(self) -> None:
        """Tell the ledger of all that were added before the call. Raises what the database raises, and TimeoutError.

        What it could not be told stays for the next call. Safe to call while another is under way.
        """
        async with asyncio.timeout(MARK_TIMEOUT), self._marking:
            told = list(self._unmarked)
            if told:
                async with self._pool.acquire() as connection:
                    await ledger.mark_published(connection, told)
                self._unmarked.difference_update(told)
