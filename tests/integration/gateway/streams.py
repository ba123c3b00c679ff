"""A client of the live timeline, as strict as the format."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from uuid import UUID

import httpx

from libs.runtime import http_server
from libs.storage.pool import Pool, open_pool
from services.gateway import live
from services.gateway.timeline import Moment
from tests.integration.gateway.conftest import Door


@dataclass(frozen=True)
class Told:
    """One server-sent event."""

    id: int
    kind: str
    data: str

    @property
    def moment(self) -> Moment:
        """What its data says."""
        return Moment.model_validate_json(self.data)


@dataclass
class Stream:
    """A stream that is open: its events, one by one, and how many comments came between."""

    answer: httpx.Response
    comments: int = 0

    async def events(self) -> AsyncGenerator[Told, None]:
        """Every event until the stream ends. Raises httpx.RemoteProtocolError when it ends without order."""
        block: list[str] = []
        async for line in self.answer.aiter_lines():
            if line:
                block.append(line)
                continue
            if block[0] == ":":
                self.comments += 1
            elif not block[0].startswith("retry: "):
                names, values = zip(*(each.split(": ", 1) for each in block), strict=True)
                assert names == ("id", "event", "data")
                yield Told(int(values[0]), values[1], values[2])
            block = []
        assert not block

    async def read(self, count: int) -> list[Told]:
        """The next so many, or fewer when it ends; it can be read once."""
        found: list[Told] = []
        async with aclosing(self.events()) as events:
            async for told in events:
                found.append(told)
                if len(found) == count:
                    break
        return found


def path(request_id: UUID) -> str:
    """Where the live timeline of a request is."""
    return f"/v1/signings/{request_id}/events"


@asynccontextmanager
async def stream(
    door: Door, request_id: UUID, user: str, *, after: int | None = None, at: str = "", language: str = "ms"
) -> AsyncIterator[Stream]:
    """Open a stream, at another replica with `at` (its address); leaving it cuts the connection."""
    headers = {"Authorization": f"Bearer {door.token(user)}", "Accept-Language": language}
    if after is not None:
        headers["Last-Event-ID"] = str(after)
    async with door.http.stream("GET", at + path(request_id), headers=headers) as answer:
        assert answer.status_code == 200, await answer.aread()
        assert answer.headers["content-type"].startswith("text/event-stream")
        yield Stream(answer)


async def whole(door: Door, request_id: UUID, user: str, *, after: int | None = None, at: str = "") -> list[Told]:
    """Everything after `after` until the stream ends."""
    async with stream(door, request_id, user, after=after, at=at) as opened:
        return [told async for told in opened.events()]


@asynccontextmanager
async def pool_of_one(door: Door) -> AsyncIterator[Pool]:
    """A single connection: whoever held it would be noticed by everybody."""
    known = door.settings
    pool = await open_pool(
        host=known.postgres_host,
        port=known.postgres_port,
        database=known.postgres_database,
        user=known.postgres_user,
        password=known.postgres_password.get_secret_value(),
        schema=known.service,
        connections=1,
    )
    try:
        yield pool
    finally:
        await pool.close()


@asynccontextmanager
async def serving(door: Door, pool: Pool, streams: live.Live) -> AsyncIterator[int]:
    """A twin with these streams, behind TLS that ended before it; yields its port."""
    async with http_server.http_server(door.api(pool, streams), 0) as port:
        try:
            yield port
        finally:
            streams.stop()
