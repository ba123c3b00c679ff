"""What aiokafka and uvloop do when a broker is away, or its name is; and that it is kept from the others."""

import asyncio
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.conn import AIOKafkaConnection
from aiokafka.errors import KafkaConnectionError

from libs.bus import connecting
from tests.contract.broker import Broker
from tests.support.waiting import eventually

BOUND = 1.0

Known = dict[tuple[str, int, str, str | None], connecting._Broker]


class Silent:
    """A broker that takes connections and says nothing."""

    def __init__(self) -> None:
        self.connections: list[asyncio.StreamWriter] = []
        self.port = 0

    def connection(self) -> AIOKafkaConnection:
        """One to it, that would wait a minute."""
        return AIOKafkaConnection("127.0.0.1", self.port, request_timeout_ms=60_000)

    async def seconds_to_time_out(self) -> float:
        """How long one attempt takes, made as soon as it is not left alone any more."""

        began = 0.0

        async def given_up() -> bool:
            nonlocal began
            began = time.monotonic()
            with pytest.raises((TimeoutError, KafkaConnectionError)) as raised:
                await self.connection().connect()
            return raised.type is TimeoutError

        await eventually(given_up, "an attempt", every=0.01)
        return time.monotonic() - began

    async def taken(self, _: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections.append(writer)


@pytest.fixture
def known(monkeypatch: pytest.MonkeyPatch) -> Known:
    """What is known of brokers: nothing."""
    found: Known = {}
    monkeypatch.setattr(connecting, "_brokers", found)
    monkeypatch.setattr(connecting, "CONNECT_BOUND", BOUND)
    connecting.install()
    return found


@pytest.fixture
async def silent() -> AsyncIterator[Silent]:
    found = Silent()
    server = await asyncio.start_server(found.taken, "127.0.0.1", 0)
    found.port = server.sockets[0].getsockname()[1]
    yield found
    server.close()
    for writer in found.connections:
        writer.close()


async def test_a_broker_that_says_nothing_is_given_up_and_left_alone_for_as_long_as_it_took(
    broker: Broker, known: Known, silent: Silent
) -> None:
    await broker.producer()  # a broker is there: what is not reached now is not the start of a stack
    took = await silent.seconds_to_time_out()
    given_up = time.monotonic()
    with pytest.raises(KafkaConnectionError, match="a moment ago"):
        await silent.connection().connect()
    assert BOUND <= took < connecting.LONGEST
    assert len(silent.connections) == 1
    longer = await silent.seconds_to_time_out()
    assert len(silent.connections) == 2
    assert time.monotonic() - given_up - longer >= BOUND * 0.99
    assert longer >= 2 * BOUND  # a slow resolver, or a host that is busy, is found in the end


async def test_the_first_connection_of_a_process_is_waited_for(
    monkeypatch: pytest.MonkeyPatch, known: Known, silent: Silent
) -> None:
    monkeypatch.setattr(connecting, "LONGEST", 3 * BOUND)
    assert await silent.seconds_to_time_out() >= 3 * BOUND


async def test_a_failure_of_before_does_not_keep_anybody_from_a_broker_that_was_reached_since(
    broker: Broker, known: Known, silent: Silent
) -> None:
    await broker.producer()
    attempt = asyncio.create_task(silent.connection().connect())
    await eventually(lambda: bool(silent.connections), "a connection", every=0.01)
    known["127.0.0.1", silent.port, "PLAINTEXT", None].reached_at = time.monotonic()
    with pytest.raises(TimeoutError):
        await attempt
    assert await silent.seconds_to_time_out() < 2 * BOUND
    assert len(silent.connections) == 2


async def test_an_account_that_is_refused_keeps_nobody_from_the_broker(broker: Broker, known: Known) -> None:
    stranger = AIOKafkaProducer(**{**broker.stack.kafka.options(), "sasl_plain_password": "wrong"})
    with pytest.raises(KafkaConnectionError, match="Unable to bootstrap"):
        await stranger.start()
    await stranger.stop()
    await broker.producer()
    assert [one.left_until for one in known.values()] == [0.0]


async def test_a_name_is_looked_up_once_for_all_who_ask_meanwhile(
    known: Known, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    answer = asyncio.Event()

    async def looked_up(host: str, *_: Any, **__: Any) -> None:
        asked.append(host)
        await answer.wait()
        raise socket.gaierror(socket.EAI_AGAIN, "no answer")

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", looked_up)
    attempts = [asyncio.create_task(AIOKafkaConnection("gone", port).connect()) for port in (1, 2, 3)]
    await eventually(lambda: bool(asked), "the question", every=0.01)
    attempts[0].cancel()
    answer.set()
    cancelled, *failed = await asyncio.gather(*attempts, return_exceptions=True)
    assert isinstance(cancelled, asyncio.CancelledError)
    assert [type(one) for one in failed] == [socket.gaierror] * 2
    assert asked == ["gone"]
    with pytest.raises(socket.gaierror):
        await AIOKafkaConnection("gone", 4).connect()
    assert asked == ["gone", "gone"]


_WHO_COMES_FIRST = """
import asyncio, fcntl, socket, struct, sys, uvloop
from libs.bus.connecting import _found

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
    up = _found if sys.argv[1] == "defended" else bare
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
