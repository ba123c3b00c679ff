"""What uvloop does when a broker's name is known to nobody; and that it is kept from the other brokers."""

import asyncio
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import uvloop
from aiokafka import client as aiokafka_client
from aiokafka.client import AIOKafkaClient
from aiokafka.conn import AIOKafkaConnection
from aiokafka.errors import KafkaConnectionError
from aiokafka.protocol.admin import ApiVersionRequest
from aiokafka.structs import BrokerMetadata

from libs.bus import connecting
from tests.support.waiting import eventually

BOUND = 0.3


class Resolver:
    """The system's, which answers when it is told to: that there is no such name, unless `knows`."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.answer = asyncio.Event()
        self.knows = False

    async def getaddrinfo(self, host: str, *_: Any, **__: Any) -> list[tuple[Any, ...]]:
        self.asked.append(host)
        await self.answer.wait()
        if not self.knows:
            raise socket.gaierror(socket.EAI_AGAIN, "no answer")
        return [(socket.AF_INET, socket.SOCK_STREAM, 0, "", ("127.0.0.1", 0))]


@pytest.fixture
async def resolver(monkeypatch: pytest.MonkeyPatch) -> Resolver:
    """In place of the system's, of a process that has found another broker."""
    monkeypatch.setattr(connecting, "_names", {"there": connecting._Name(["127.0.0.1"])})
    monkeypatch.setattr(connecting, "LOOK_UP_BOUND", BOUND)
    connecting.install()
    found = Resolver()
    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", found.getaddrinfo)
    return found


def connecting_to(host: str, port: int = 1) -> asyncio.Task[Any]:
    """An attempt of a client that would wait a minute."""
    return asyncio.create_task(AIOKafkaConnection(host, port, request_timeout_ms=60_000).connect())


async def seconds_to_time_out(host: str) -> float:
    """How long one attempt takes."""
    began = time.monotonic()
    with pytest.raises(TimeoutError):
        await connecting_to(host)
    return time.monotonic() - began


async def test_a_name_without_an_answer_is_given_up_and_left_alone_until_there_is_one_and_for_as_long_as_it_took(
    resolver: Resolver,
) -> None:
    assert BOUND <= await seconds_to_time_out("gone") < connecting.LONGEST
    with pytest.raises(KafkaConnectionError, match="a moment ago"):
        await connecting_to("gone")
    resolver.answer.set()
    answered = time.monotonic()

    async def asked_again() -> bool:
        with pytest.raises((OSError, KafkaConnectionError)):
            await connecting_to("gone")
        return resolver.asked == ["gone"] * 2

    await eventually(asked_again, "an attempt", every=0.01)
    assert time.monotonic() - answered >= 0.99 * BOUND


async def test_a_slow_resolver_s_answer_counts_when_it_comes(resolver: Resolver) -> None:
    await seconds_to_time_out("gone")
    resolver.knows = True
    resolver.answer.set()
    await eventually(lambda: connecting._names["gone"].addresses, "the answer", every=0.01)
    assert await connecting._known("gone") == ["127.0.0.1"]


async def test_the_first_name_of_a_process_is_waited_for(resolver: Resolver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connecting, "_names", {})
    monkeypatch.setattr(connecting, "LONGEST", 3 * BOUND)
    assert await seconds_to_time_out("gone") >= 3 * BOUND
    resolver.answer.set()


async def test_a_name_is_looked_up_once_for_all_who_ask_meanwhile(
    resolver: Resolver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connecting, "LOOK_UP_BOUND", connecting.LONGEST)
    attempts = [connecting_to("gone", port) for port in (1, 2, 3)]
    await eventually(lambda: bool(resolver.asked), "the question", every=0.01)
    attempts[0].cancel()
    resolver.answer.set()
    cancelled, *failed = await asyncio.gather(*attempts, return_exceptions=True)
    assert isinstance(cancelled, asyncio.CancelledError)
    assert [type(one) for one in failed] == [socket.gaierror] * 2
    assert resolver.asked == ["gone"]


class Connection:
    """One that was made."""

    def connected(self) -> bool:
        return True

    async def close(self, reason: object) -> None:
        """Nothing is behind it."""


@dataclass
class Cluster:
    """A client of two brokers, of which the first says nothing until it is let."""

    client: AIOKafkaClient
    attempts: list[str]
    going: asyncio.Event


@pytest.fixture
async def cluster(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Cluster]:
    monkeypatch.setattr(connecting, "CONNECT_BOUND", BOUND)
    connecting.install()
    attempts: list[str] = []
    going = asyncio.Event()

    async def create(host: str, *_: object, **__: object) -> Connection:
        attempts.append(host)
        if host == "gone":
            await going.wait()
        return Connection()

    monkeypatch.setattr(aiokafka_client, "create_conn", create)
    client = AIOKafkaClient(bootstrap_servers="there:1")
    brokers = [BrokerMetadata(1, "gone", 1, None), BrokerMetadata(2, "there", 1, None)]
    monkeypatch.setattr(client.cluster, "_brokers", {broker.nodeId: broker for broker in brokers})
    yield Cluster(client, attempts, going)
    await client.close()


async def test_others_are_connected_to_while_a_broker_says_nothing(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """aiokafka makes one connection at a time, whoever it is to."""
    monkeypatch.setattr(connecting, "CONNECT_BOUND", 60.0)
    gone = asyncio.create_task(cluster.client.ready(1))
    await eventually(lambda: bool(cluster.attempts), "the attempt", every=0.01)
    assert await cluster.client.ready(2)
    assert not gone.done()
    cluster.going.set()
    assert await gone


async def test_nobody_waits_for_an_attempt_that_takes_long_and_it_goes_on(cluster: Cluster) -> None:
    began = time.monotonic()
    assert not await cluster.client.ready(1)
    assert time.monotonic() - began >= 0.99 * BOUND
    async with asyncio.timeout(BOUND / 2):
        assert not await cluster.client.ready(1)
    cluster.going.set()
    assert await eventually(lambda: cluster.client.ready(1), "the connection", every=0.01)
    assert cluster.attempts == ["gone"]


async def test_a_client_that_is_closed_makes_no_connection_any_more(cluster: Cluster) -> None:
    waits = asyncio.create_task(cluster.client.ready(1))
    await eventually(lambda: bool(cluster.attempts), "the attempt", every=0.01)
    await cluster.client.close()
    assert not await waits
    cluster.going.set()
    assert not await cluster.client.ready(3)
    assert cluster.client._conns == {}


async def test_whose_name_is_known_is_connected_to_without_another_look_up(
    resolver: Resolver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """uvloop looks two names up at a time, and that one would have no bound."""
    reached = asyncio.Event()

    async def hang_up(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        reached.set()
        writer.close()

    server = await asyncio.start_server(hang_up, "127.0.0.1", 0)
    nobody = ["127.0.0.2", "127.0.0.1"]  # the first that is found need not be the one that answers

    async def known(_: str) -> list[str]:
        return nobody

    monkeypatch.setattr(connecting, "_known", known)
    async with server:
        with pytest.raises(KafkaConnectionError):
            await connecting_to("there", server.sockets[0].getsockname()[1])
    assert reached.is_set()
    assert resolver.asked == []


async def sent_after_the_end(send: Any) -> None:
    """Through a connection that has ended, which aiokafka has yet to see."""
    async with await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0) as server:
        connection = AIOKafkaConnection(*server.sockets[0].getsockname())
        connection._reader, connection._writer = await asyncio.open_connection(connection.host, connection.port)
        connection._read_task = asyncio.create_task(connection._reader.read())
        connection._writer.transport.abort()
        await connection._writer.wait_closed()
        await send(connection, ApiVersionRequest())


@pytest.mark.parametrize(
    ("up", "error", "says"),
    [("bare", RuntimeError, "handler is closed"), ("defended", KafkaConnectionError, "No connection")],
)
def test_on_uvloop_who_sends_when_the_connection_has_just_ended_is_told_so(
    up: str, error: type[Exception], says: str
) -> None:
    """The fault: aiokafka expects an OSError, and the task dies in which it asks where everything is."""
    connecting.install()
    send = connecting._send if up == "bare" else AIOKafkaConnection.send
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner, pytest.raises(error, match=says):
        runner.run(sent_after_the_end(send))


_WHO_COMES_FIRST = """
import asyncio, fcntl, socket, struct, sys, uvloop
from libs.bus.connecting import _known

SET_FLAGS, UP = 0x8914, 1
silent = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
fcntl.ioctl(silent, SET_FLAGS, struct.pack("16sh14x", b"lo", UP))
silent.bind(("127.0.0.1", 53))
order = []

async def look(host, up):
    try:
        await up(host)
    except socket.gaierror:
        pass
    order.append(host)

async def main():
    bare = lambda host: asyncio.get_running_loop().getaddrinfo(host, None)
    up = _known if sys.argv[1] == "defended" else bare
    gone = [asyncio.create_task(look("gone", up)) for _ in range(3)]
    await asyncio.sleep(0)
    await look("localhost", up)
    await asyncio.gather(*gone)

with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
    runner.run(main())
print(*order)
"""

_APART = ("unshare", "--net", "--mount")


def _may_be_apart() -> bool:
    return subprocess.run([*_APART, "true"], check=False, capture_output=True).returncode == 0


@pytest.mark.skipif(not _may_be_apart(), reason="only root may give a process another resolver")
@pytest.mark.parametrize("up", ["bare", "defended"])
def test_names_that_nobody_knows_keep_uvloop_from_one_that_is_known(up: str, tmp_path: Path) -> None:
    """The fault: it looks two up at a time. The defence: whoever asks for the same name asks once."""
    resolver = tmp_path / "resolv.conf"
    resolver.write_text("nameserver 127.0.0.1\noptions timeout:2 attempts:1\n")
    told = subprocess.run(
        [
            *(*_APART, "sh", "-c", 'mount --bind "$0" /etc/resolv.conf && exec "$@"', resolver),
            *(sys.executable, "-c", _WHO_COMES_FIRST, up),
        ],
        check=False,
        capture_output=True,
        text=True,
    )
    first = {"bare": "gone", "defended": "localhost"}
    assert told.returncode == 0, told
    assert told.stdout.split()[0] == first[up], told
