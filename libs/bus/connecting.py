"""A broker that is away must not keep a client from those that are there.

aiokafka 0.14 makes one connection at a time, and gives each 20 s: as long as it took to see that a host which died
without a word does not answer, no other broker was connected to. The name of such a host is often answered by no
resolver, which takes the system 10 s, and uvloop looks two names up at a time. With one of three away a Pukal took
more than 160 s. So each connection is an attempt of its own, which goes on as long as aiokafka gives it: a broker that
starts, or is busy, needs its time. Nobody waits for it longer than a moment, and whoever comes after that not at all.
tests/contract holds the faults and these defences.
"""

import asyncio
import contextlib
import math
import socket
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, Final
from weakref import WeakKeyDictionary, WeakSet

import structlog
from aiokafka.client import AIOKafkaClient, ConnectionGroup
from aiokafka.cluster import ClusterMetadata
from aiokafka.conn import AIOKafkaConnection, CloseReason
from aiokafka.errors import KafkaConnectionError

LOOK_UP_BOUND: Final = 3.0
"""Seconds that anybody waits until a name is known: less than any question to a broker is given.

The look-up goes on, and a slow resolver's answer counts when it comes: until then the name is left alone.
"""

LONGEST: Final = 12.0
"""The same for a process's first name, of which nothing is known and nobody waits for."""

CONNECT_BOUND: Final = 3.0
"""Seconds that anybody waits for an attempt to connect."""

ASK_AGAIN: Final = 1.0
"""Seconds until a client asks again for what no broker told it."""

log = structlog.get_logger()

_connect = AIOKafkaConnection.connect
_send = AIOKafkaConnection.send
_get_conn = AIOKafkaClient._get_conn  # noqa: SLF001 (there is no hook before its turn to connect)
_metadata_update = AIOKafkaClient._metadata_update  # noqa: SLF001 (nor where all that it knows have failed)
_close = AIOKafkaClient.close


@dataclass
class _Name:
    """What this process knows of a broker's name, by the monotonic clock."""

    addresses: Sequence[str] = ()
    """The last that were found."""
    left_until: float = 0.0
    """Who kept us waiting is left alone: until it answers, and then for as long as it took to say no."""


@dataclass
class _Attempt:
    """To connect one client to one node."""

    task: "asyncio.Task[AIOKafkaConnection | None]"
    takes_long: bool = False
    """Somebody has waited for it in vain."""


_attempts: "WeakKeyDictionary[AIOKafkaClient, dict[tuple[int, int], _Attempt]]" = WeakKeyDictionary()
"""What is under way, of each client."""

_untold: "WeakSet[AIOKafkaClient]" = WeakSet()
"""Who asks again in a moment."""

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


def _sent(connection: AIOKafkaConnection, request: Any, expect_response: bool = True) -> Any:
    """Raises KafkaConnectionError where the connection has just ended, of which its reader has yet to hear.

    uvloop's RuntimeError ends aiokafka's synchroniser of metadata, for ever and without a word: then nobody who waits
    to be told of a broker goes on.
    """
    writer = connection._writer  # noqa: SLF001 (as said)
    if writer is not None and writer.is_closing():
        connection.close(reason=CloseReason.CONNECTION_BROKEN)
    return _send(connection, request, expect_response)


async def _connection(
    client: AIOKafkaClient, node_id: int, *, group: int = ConnectionGroup.DEFAULT, no_hint: bool = False
) -> AIOKafkaConnection | None:
    """The connection to a node; None, and tried again by who asked, while there is none."""
    made, attempts = client._conns.get((node_id, group)), _attempts.setdefault(client, {})  # noqa: SLF001 (as said)
    if made is not None and made.connected():
        return made
    attempt = attempts.get((node_id, group))
    if attempt is None:
        attempt = _Attempt(asyncio.create_task(_get_conn(client, node_id, group=group, no_hint=no_hint)))
        attempts[node_id, group] = attempt
        attempt.task.add_done_callback(lambda _: attempts.pop((node_id, group), None))
    if attempt.takes_long:
        return None
    try:
        async with asyncio.timeout(CONNECT_BOUND):
            return await asyncio.shield(attempt.task)
    except TimeoutError:
        attempt.takes_long = True
        return None
    except asyncio.CancelledError:
        if attempt.task.cancelled():  # the client was closed, and not who asks
            return None
        raise


async def _updated(client: AIOKafkaClient, cluster: ClusterMetadata, topics: Collection[str] | None) -> bool:
    """Ask whom it knows, and then whom it was given at first, as KIP-899 has it.

    A broker that has just started may tell of itself alone. Whoever heard that and loses it would ask nobody else, for
    ever: consumers without a coordinator, until their process ends.
    """
    try:
        if await _metadata_update(client, cluster, topics):
            return True
        with contextlib.suppress(KafkaConnectionError):
            await client.bootstrap()
            if await _metadata_update(client, cluster, topics):
                return True
    except Exception:
        log.exception("metadata update failed")  # aiokafka's task would end of it, and nobody hear
    _ask_again(client)
    return False


def _ask_again(client: AIOKafkaClient) -> None:
    """Else nobody does for five minutes, unless somebody wants to know of a leader: who joins a group meanwhile
    may lead it by what it was not told, and assigns nobody anything.
    """

    def ask() -> None:
        _untold.discard(client)
        client.force_metadata_update()

    if client not in _untold:
        _untold.add(client)
        asyncio.get_running_loop().call_later(ASK_AGAIN, ask)


async def _closed(client: AIOKafkaClient) -> None:
    """With what is under way: a connection that is made after the others were closed would stay."""
    tasks = [attempt.task for attempt in _attempts.pop(client, {}).values()]
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await _close(client)


async def _known(host: str) -> Sequence[str]:
    """The name's addresses. Raises OSError, KafkaConnectionError: the system knows none, or did not just now."""
    name, now = _names.setdefault(host, _Name()), time.monotonic()
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
            name.addresses, name.left_until = done.result(), 0.0

    if host not in asked:
        asked[host] = loop.create_task(_looked_up(loop, host))
        asked[host].add_done_callback(answered)
    return await asyncio.shield(asked[host])


async def _looked_up(loop: asyncio.AbstractEventLoop, host: str) -> Sequence[str]:
    return [str(address[0]) for *_, address in await loop.getaddrinfo(host, None, type=socket.SOCK_STREAM)]


def install() -> None:
    """Make every client of this process connect so. Safe to call again."""
    AIOKafkaConnection.connect = _connect_by_known_name
    AIOKafkaConnection.send = _sent
    AIOKafkaClient._get_conn = _connection  # noqa: SLF001 (as said)
    AIOKafkaClient._get_conn_lock = contextlib.nullcontext()  # noqa: SLF001 (an attempt is one by its key)
    AIOKafkaClient._metadata_update = _updated  # noqa: SLF001 (as said)
    AIOKafkaClient.close = _closed
