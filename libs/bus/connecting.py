"""A broker whose name nobody answers for must not keep a client from those that are there.

The name of a host that is down is often answered by no resolver, which takes the system 10 s; uvloop looks two names up
at a time; and aiokafka 0.14 makes one connection at a time and begins again after 0.1 s. So a few clients that asked
for a broker that was away found no other for minutes: with one of three away a Pukal took more than 160 s. So a name is
looked up before the client's turn to connect, and by nobody in it: only what wants that broker waits, and no longer
than the bound. tests/contract holds the fault and this defence. How long a connection takes once its name is known is
aiokafka's matter: a broker that starts, or is busy, needs its time.
"""

import asyncio
import contextlib
import math
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final
from weakref import WeakKeyDictionary

import structlog
from aiokafka.client import AIOKafkaClient, ConnectionGroup
from aiokafka.conn import AIOKafkaConnection
from aiokafka.errors import KafkaConnectionError

LOOK_UP_BOUND: Final = 3.0
"""Seconds that anybody waits until a name is known: less than any question to a broker is given.

The look-up goes on, and a slow resolver's answer counts when it comes: until then the name is left alone.
"""

LONGEST: Final = 12.0
"""The same for a process's first name, of which nothing is known and nobody waits for."""

FRESH: Final = 1.0
"""Seconds for which a name that is known is not looked up again: who waited for the turn to connect need not."""

_connect = AIOKafkaConnection.connect
_connection = AIOKafkaClient._get_conn  # noqa: SLF001 (no hook is called before its turn to connect)

log = structlog.get_logger()


@dataclass
class _Name:
    """What this process knows of a broker's name, by the monotonic clock."""

    addresses: Sequence[str] = ()
    """The last that were found."""
    fresh_until: float = 0.0
    left_until: float = 0.0
    """Who kept us waiting is left alone: until it answers, and then for as long as it took to say no."""


_names: dict[str, _Name] = {}

_asked: "WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, asyncio.Task[Sequence[str]]]]" = WeakKeyDictionary()
"""The names that are being looked up, of each loop."""


class _ByAddress:
    """A loop that connects to these addresses, one after another, instead of looking their host's name up itself."""

    def __init__(self, loop: asyncio.AbstractEventLoop, addresses: Sequence[str]) -> None:
        self._loop = loop
        self._addresses = addresses

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loop, name)

    async def create_connection(self, protocol: Any, host: str, port: int, *, ssl: Any) -> Any:
        """As the loop's; the certificate must be the host's."""
        name = host if ssl else None
        for address in self._addresses[:-1]:
            with contextlib.suppress(OSError):
                return await self._loop.create_connection(protocol, address, port, ssl=ssl, server_hostname=name)
        return await self._loop.create_connection(protocol, self._addresses[-1], port, ssl=ssl, server_hostname=name)


async def _connect_by_known_name(connection: AIOKafkaConnection) -> Any:
    connection._loop = _ByAddress(connection._loop, await _known(connection.host))  # noqa: SLF001 (it asks that one)
    return await _connect(connection)


async def _connection_by_known_name(
    client: AIOKafkaClient, node_id: int, *, group: int = ConnectionGroup.DEFAULT, no_hint: bool = False
) -> AIOKafkaConnection | None:
    made = client._conns.get((node_id, group))  # noqa: SLF001 (as said)
    broker = client.cluster.broker_metadata(node_id)
    if broker is not None and not (made and made.connected()):
        try:
            await _known(broker.host)
        except (OSError, KafkaConnectionError) as error:
            log.warning("no connection", node=node_id, error=type(error).__name__)
            client.force_metadata_update()  # as aiokafka does when it could not connect
            return None
    return await _connection(client, node_id, group=group, no_hint=no_hint)


async def _known(host: str) -> Sequence[str]:
    """The name's addresses. Raises OSError, KafkaConnectionError: the system knows none, or did not just now."""
    name, now = _names.setdefault(host, _Name()), time.monotonic()
    if now < name.fresh_until:
        return name.addresses
    if now < name.left_until:
        raise KafkaConnectionError(f"the name {host} was not known a moment ago")
    try:
        async with asyncio.timeout(LOOK_UP_BOUND if any(one.addresses for one in _names.values()) else LONGEST):
            return await _answer(host, name)
    except TimeoutError:
        name.left_until = math.inf
        raise


async def _answer(host: str, name: _Name) -> Sequence[str]:
    """Ask the system for a name; whoever asks for it meanwhile waits for the same answer."""
    loop, began = asyncio.get_running_loop(), time.monotonic()
    asked = _asked.setdefault(loop, {})

    def answered(done: asyncio.Task[Sequence[str]]) -> None:
        del asked[host]
        now = time.monotonic()
        if done.cancelled() or done.exception():
            name.left_until = now + min(now - began, LOOK_UP_BOUND)
        else:
            name.addresses, name.left_until, name.fresh_until = done.result(), 0.0, now + FRESH

    if host not in asked:
        asked[host] = loop.create_task(_looked_up(loop, host))
        asked[host].add_done_callback(answered)
    return await asyncio.shield(asked[host])


async def _looked_up(loop: asyncio.AbstractEventLoop, host: str) -> Sequence[str]:
    return [str(address[0]) for *_, address in await loop.getaddrinfo(host, None, type=socket.SOCK_STREAM)]


def install() -> None:
    """Make every client of this process connect so. Safe to call again."""
    AIOKafkaConnection.connect = _connect_by_known_name
    AIOKafkaClient._get_conn = _connection_by_known_name  # noqa: SLF001 (as said)
