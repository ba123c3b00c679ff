"""A broker that is away must not keep a client from those that are there.

aiokafka 0.14 makes one connection at a time, waits for it as long as for an answer, and begins again after 0.1 s; a
name for which no resolver answers (that of a host that is down, often) takes the system 10 s; and uvloop looks up two
names at a time. So a few clients that ask for a broker that is away found no other for minutes: with one broker of
three away a Pukal took up to 160 s. tests/contract holds the faults and this defence.
"""

import asyncio
import time
from typing import Any, Final
from weakref import WeakKeyDictionary

from aiokafka.conn import AIOKafkaConnection
from aiokafka.errors import KafkaConnectionError, KafkaError

CONNECT_BOUND: Final = 3.0
"""Seconds until a connection stands, its name looked up and its account known: less than any question is given."""

_connect = AIOKafkaConnection.connect
_away: dict[tuple[str, int], float] = {}
"""Until when a broker that kept us waiting is not tried again: as long as it did."""

_asked: "WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, asyncio.Task[Any]]]" = WeakKeyDictionary()
"""The names that are being looked up, of each loop."""


async def _connect_bounded(connection: AIOKafkaConnection) -> Any:
    place = (connection.host, connection.port)
    began = time.monotonic()
    if began < _away.get(place, 0.0):
        raise KafkaConnectionError(f"{connection.host}:{connection.port} has not answered a moment ago")
    try:
        async with asyncio.timeout(CONNECT_BOUND):
            await _found(connection.host)
            return await _connect(connection)
    except (OSError, KafkaError):  # TimeoutError is one
        now = time.monotonic()
        _away[place] = now + (now - began)
        raise


async def _found(host: str) -> None:
    """Return when the system knows the name; whoever asks for it meanwhile waits for the same answer."""
    loop = asyncio.get_running_loop()
    asked = _asked.setdefault(loop, {})
    if host not in asked:
        asked[host] = loop.create_task(_looked_up(loop, host))
        asked[host].add_done_callback(lambda done: _answered(asked, host, done))
    await asyncio.shield(asked[host])


async def _looked_up(loop: asyncio.AbstractEventLoop, host: str) -> None:
    await loop.getaddrinfo(host, None)


def _answered(asked: dict[str, asyncio.Task[Any]], host: str, done: "asyncio.Task[Any]") -> None:
    del asked[host]
    if not done.cancelled():
        done.exception()  # whoever waited has it; when nobody waits any more, nobody misses it


def install() -> None:
    """Make every client of this process connect so. Safe to call again."""
    AIOKafkaConnection.connect = _connect_bounded
