"""A broker whose name nobody answers for must not keep a client from those that are there.

The name of a host that is down is often answered by no resolver, which takes the system 10 s; uvloop looks two names up
at a time; and aiokafka 0.14 makes one connection at a time and begins again after 0.1 s. So a few clients that asked
for a broker that was away found no other for minutes: with one of three away a Pukal took more than 160 s.
tests/contract holds the fault and this defence. How long a connection takes once its name is known is aiokafka's
matter: a broker that starts, or is busy, needs its time.
"""

import asyncio
import time
from dataclasses import dataclass, field
from typing import Any, Final
from weakref import WeakKeyDictionary

from aiokafka.conn import AIOKafkaConnection
from aiokafka.errors import KafkaConnectionError

LOOK_UP_BOUND: Final = 3.0
"""Seconds until a name is known: less than any question to a broker is given.

It doubles with each time-out, since a slow resolver is no broker that is away.
"""

LONGEST: Final = 12.0
"""Seconds that it grows to; and of a process's first name, of which nothing is known and nobody waits for."""

_connect = AIOKafkaConnection.connect


@dataclass
class _Name:
    """What this process knows of a broker's name, by the monotonic clock."""

    bound: float = field(default_factory=lambda: LOOK_UP_BOUND)
    found: bool = False
    left_until: float = 0.0
    """Who kept us waiting is left alone for as long."""


_names: dict[str, _Name] = {}

_asked: "WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, asyncio.Task[Any]]]" = WeakKeyDictionary()
"""The names that are being looked up, of each loop."""


async def _connect_by_known_name(connection: AIOKafkaConnection) -> Any:
    await _known(connection.host)
    return await _connect(connection)


async def _known(host: str) -> None:
    """Return when the system knows the name. Raises OSError, KafkaConnectionError: it does not, or did not just now."""
    name = _names.setdefault(host, _Name())
    began = time.monotonic()
    if began < name.left_until:
        raise KafkaConnectionError(f"the name {host} was not known a moment ago")
    bound = name.bound if any(other.found for other in _names.values()) else LONGEST
    try:
        async with asyncio.timeout(bound):
            await _answer(host)
    except OSError as error:  # TimeoutError is one
        now = time.monotonic()
        name.left_until = now + min(now - began, bound)
        if isinstance(error, TimeoutError):
            name.bound = min(2 * name.bound, LONGEST)
        raise
    name.bound, name.found, name.left_until = LOOK_UP_BOUND, True, 0.0


async def _answer(host: str) -> None:
    """Ask the system for a name; whoever asks for it meanwhile waits for the same answer."""
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
    AIOKafkaConnection.connect = _connect_by_known_name
