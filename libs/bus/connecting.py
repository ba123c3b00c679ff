"""A broker that is away must not keep a client from those that are there.

aiokafka 0.14 makes one connection at a time, waits for it as long as for an answer, and begins again after 0.1 s; a
name for which no resolver answers (that of a host that is down, often) takes the system 10 s; and uvloop looks up two
names at a time. So a few clients that ask for a broker that is away found no other for minutes: with one broker of
three away a Pukal took more than 160 s. tests/contract holds the faults and this defence.
"""

import asyncio
import time
from dataclasses import dataclass, field
from typing import Any, Final
from weakref import WeakKeyDictionary

from aiokafka.conn import AIOKafkaConnection
from aiokafka.errors import KafkaConnectionError

CONNECT_BOUND: Final = 3.0
"""Seconds until a connection stands, its name looked up and its account known: less than any question is given.

It doubles with each time-out, since a slow resolver or a busy host is no broker that is away.
"""

LONGEST: Final = 12.0
"""Seconds that it grows to; and of a process's first connection, of which nothing is known and nobody waits for."""

_connect = AIOKafkaConnection.connect


@dataclass
class _Broker:
    """What this process knows of one address, as one account, by the monotonic clock."""

    bound: float = field(default_factory=lambda: CONNECT_BOUND)
    reached_at: float = 0.0
    left_until: float = 0.0
    """Who kept us waiting is left alone for as long."""


_brokers: dict[tuple[str, int, str, str | None], _Broker] = {}

_asked: "WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, asyncio.Task[Any]]]" = WeakKeyDictionary()
"""The names that are being looked up, of each loop."""


async def _connect_bounded(connection: AIOKafkaConnection) -> Any:
    account = (connection._security_protocol, connection._sasl_plain_username)  # noqa: SLF001 (what it was given)
    broker = _brokers.setdefault((connection.host, connection.port, *account), _Broker())
    began = time.monotonic()
    if began < broker.left_until:
        raise KafkaConnectionError(f"{connection.host}:{connection.port} was not reached a moment ago")
    bound = broker.bound if any(known.reached_at for known in _brokers.values()) else LONGEST
    try:
        async with asyncio.timeout(bound):
            await _found(connection.host)
            stream = await _connect(connection)
    except OSError as error:  # TimeoutError is one; KafkaError, as of an account that is refused, is an answer
        now = time.monotonic()
        if began > broker.reached_at:  # else another attempt, made since, has shown that it is there
            broker.left_until = now + min(now - began, bound)
            if isinstance(error, TimeoutError):
                broker.bound = min(2 * broker.bound, LONGEST)
        raise
    broker.bound, broker.reached_at, broker.left_until = CONNECT_BOUND, time.monotonic(), 0.0
    return stream


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
