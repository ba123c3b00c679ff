"""A stage that stands still slows what is before it: the rest waits at the broker, not in the process."""

import asyncio
from typing import Any

import pytest
from aiokafka.consumer import fetcher

from libs.bus.records import TolerantRecords
from libs.bus.subscriber import FETCH_BYTES
from libs.bus.work import Work
from tests.integration.bus.handlers import pass_on
from tests.support.bus import Room, Step
from tests.support.waiting import eventually

pytestmark = pytest.mark.stack

RECORDS = 600
LONG = "x" * 8_000
"""In the id of each document, which is key and content: 16 KB a record."""


class Fetched:
    """What a process was given by the broker, and what of it lies in its client."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.size = 0
        self._clients: set[fetcher.Fetcher] = set()
        unpack, take = TolerantRecords.__init__, fetcher.Fetcher._proc_fetch_request

        def counted(records: TolerantRecords, raw: bytes) -> None:
            self.size += len(raw)
            unpack(records, raw)

        async def noted(client: fetcher.Fetcher, *arguments: object) -> Any:
            self._clients.add(client)
            return await take(client, *arguments)

        monkeypatch.setattr(TolerantRecords, "__init__", counted)
        monkeypatch.setattr(fetcher.Fetcher, "_proc_fetch_request", noted)

    def of(self, name: str) -> set[int]:
        """Partitions of a topic of which records lie in the client: it fetches no more of them."""
        return {place.partition for client in self._clients for place in client._records if place.topic == name}


async def test_what_waits_for_a_handler_that_stands_still_waits_at_the_broker(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, target = await room.topic(), await room.topic()
    await room.send(source, [room.event(f"{number} {LONG}") for number in range(RECORDS)])
    fetched, begun, goes_on = Fetched(monkeypatch), asyncio.Event(), asyncio.Event()
    on = pass_on(target)

    async def handle(work: Work[Step]) -> None:
        begun.set()
        await goes_on.wait()
        await on(work)

    bus = room.bus()
    bus.consume({source: handle})
    async with bus:
        await begun.wait()
        await eventually(lambda: len(fetched.of(source.name)) == source.partitions, "all that it fetches ahead")
        room_for = source.partitions * (FETCH_BYTES + 2 * len(LONG))
        assert 0 < fetched.size <= 2 * room_for < RECORDS * len(LONG), "a batch, and one fetch ahead of each partition"
        goes_on.set()
        await room.all_committed(source, RECORDS)
    tap = await room.tap(target)
    await tap.read()
    assert len(tap.of(target)) == RECORDS
