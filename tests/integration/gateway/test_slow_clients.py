"""A client that does not read costs a page of rows and one of a few places, for a bounded time, and hurts nobody."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from uuid import UUID

import psutil
import pytest

from libs.contracts.manifest import Header
from libs.runtime import http_server
from libs.storage.pool import Pool
from services.gateway import live, store
from services.gateway.schemas import SigningStatus
from services.gateway.timeline import Advance, Documents, Entry
from tests.integration.gateway.conftest import Door
from tests.integration.gateway.streams import path, pool_of_one, serving, whole
from tests.support.waiting import eventually
from tests.unit.gateway import histories
from tests.unit.gateway.histories import new_header, read, stamped

ROWS = 60
"""Of a quarter of a megabyte: far more than the system's buffers between two sockets take."""

NARROW = 4096
"""Bytes that a client takes without reading."""


@dataclass
class Counted(live.Live):
    """Counts the pages that it has read of one request."""

    pool: Pool
    request_id: UUID
    pages: int = 0
    reading: bool = False

    def __post_init__(self) -> None:
        super().__init__(self.pool)

    async def page(self, request_id, caller, after):
        if request_id != self.request_id:
            return await super().page(request_id, caller, after)
        self.pages += 1
        self.reading = True
        try:
            return await super().page(request_id, caller, after)
        finally:
            self.reading = False


@asynccontextmanager
async def who_never_reads(door: Door, port: int, head: Header) -> AsyncIterator[None]:
    """A client that asks for a stream and takes nothing of it."""
    loop = asyncio.get_running_loop()
    with socket.socket() as client:
        client.setblocking(False)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, NARROW)
        await loop.sock_connect(client, ("127.0.0.1", port))
        lines = (
            f"GET {path(head.request_id)} HTTP/1.1",
            "Host: gateway",
            f"Authorization: Bearer {door.token(head.user)}",
        )
        await loop.sock_sendall(client, "\r\n".join((*lines, "", "")).encode())
        yield


async def long_request(door: Door) -> Header:
    """A request with more to tell than fits anywhere between."""
    head = new_header(2)
    names = tuple(f"{number:064d}" for number in range(4000))
    async with door.room.pool.acquire() as connection, connection.transaction():
        await store.advance(connection, read(stamped([histories.resolved(head)])))
        entry = Entry("signed", histories.BEGIN, Documents(documents=names))
        await store.advance(connection, [Advance(head.request_id, [entry] * ROWS)])
    return head


def open_connections(port: int) -> int:
    """Connections of clients that this process has at a port."""
    return sum(
        1
        for one in psutil.Process().net_connections("tcp")
        if one.laddr and one.laddr.port == port and one.status != psutil.CONN_LISTEN and one.fd != -1
    )


async def stands_still(streams: Counted) -> int:
    """The number of pages when it grows no more: one was read, however long that took, and cannot be sent."""
    looks: list[int] = []

    def still() -> bool:
        looks.append(0 if streams.reading else streams.pages)
        return looks[-1] > 0 and looks[-20:].count(looks[-1]) == 20

    await eventually(still, "no more pages are read")
    return looks[-1]


async def test_while_a_client_does_not_read_no_page_is_fetched_and_others_are_served(
    door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "PAGE", 1)
    monkeypatch.setattr(live, "SEND_TIMEOUT", 100.0)
    head = await long_request(door)
    other = new_header(1)
    async with door.room.pool.acquire() as connection, connection.transaction():
        events = [histories.resolved(other), histories.completed(other, [0])]
        await store.advance(connection, read(stamped(events)))
    async with pool_of_one(door) as pool:
        streams = Counted(pool, head.request_id)
        async with serving(door, pool, streams) as port, who_never_reads(door, port, head):
            pages = await stands_still(streams)
            assert pages < ROWS
            at = f"http://127.0.0.1:{port}"
            seen = await whole(door, other.request_id, other.user, at=at)
            assert [told.id for told in seen] == [1, 2]
            answer = await door.get(f"{at}/v1/signings/{head.request_id}", door.token(head.user))
            assert SigningStatus.model_validate_json(answer.content).seq == 1 + ROWS
            assert streams.pages == pages


async def test_who_does_not_read_loses_its_place(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "SEND_TIMEOUT", 0.2)
    monkeypatch.setattr(live, "LAST_WORD", 0.1)
    monkeypatch.setattr(http_server, "STALLED_MS", 1_000_000)
    monkeypatch.setattr(http_server, "STOP_SECONDS", 1)
    head = await long_request(door)
    async with pool_of_one(door) as pool:
        streams = Counted(pool, head.request_id)
        async with serving(door, pool, streams) as port, who_never_reads(door, port, head):
            await eventually(lambda: streams.pages > 0 and streams._open == 0, "the place is another's")


async def test_who_does_not_read_loses_its_connection(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "SEND_TIMEOUT", 100.0)
    monkeypatch.setattr(http_server, "STALLED_MS", 1000)
    head = await long_request(door)
    async with pool_of_one(door) as pool:
        streams = Counted(pool, head.request_id)
        async with serving(door, pool, streams) as port, who_never_reads(door, port, head):
            await eventually(lambda: streams.pages > 0 and open_connections(port) == 0, "the connection is closed")
            await eventually(lambda: streams._open == 0, "the stream has ended")


async def test_a_stream_whose_client_does_not_read_ends_with_the_service_too(
    door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "SEND_TIMEOUT", 100.0)
    monkeypatch.setattr(http_server, "STOP_SECONDS", 1)
    head = await long_request(door)
    async with pool_of_one(door) as pool:
        streams = Counted(pool, head.request_id)
        async with serving(door, pool, streams) as port, who_never_reads(door, port, head):
            await stands_still(streams)
            streams.stop()
            await eventually(lambda: streams._open == 0, "the stream has ended")
