"""What aiokafka and uvloop do when a broker is away, or its name is; and that it is kept from the others."""

import asyncio
import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiokafka.conn import AIOKafkaConnection
from aiokafka.errors import KafkaConnectionError

from libs.bus import connecting
from tests.support.waiting import eventually


class Silent:
    """A broker that takes connections and says nothing."""

    def __init__(self) -> None:
        self.connections: list[asyncio.StreamWriter] = []
        self.port = 0

    def connection(self) -> AIOKafkaConnection:
        """One to it, that would wait a minute."""
        return AIOKafkaConnection("127.0.0.1", self.port, request_timeout_ms=60_000)

    async def taken(self, _: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections.append(writer)


@pytest.fixture
async def silent(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Silent]:
    monkeypatch.setattr(connecting, "CONNECT_BOUND", 0.5)
    connecting.install()
    found = Silent()
    server = await asyncio.start_server(found.taken, "127.0.0.1", 0)
    found.port = server.sockets[0].getsockname()[1]
    yield found
    server.close()
    for writer in found.connections:
        writer.close()


async def test_a_broker_that_says_nothing_is_given_up_and_left_alone_for_as_long_as_it_took(silent: Silent) -> None:
    with pytest.raises(TimeoutError):
        await silent.connection().connect()
    with pytest.raises(KafkaConnectionError, match="a moment ago"):
        await silent.connection().connect()
    assert len(silent.connections) == 1

    async def tried_again() -> bool:
        with pytest.raises((TimeoutError, KafkaConnectionError)):
            await silent.connection().connect()
        return len(silent.connections) == 2

    await eventually(tried_again, "another connection")


async def test_a_name_is_looked_up_once_for_all_who_ask_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    connecting.install()
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
import asyncio, socket, sys, uvloop
from libs.bus.connecting import _found

silent = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
silent.bind(("127.0.5.3", 53))
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


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give a process another resolver")
@pytest.mark.parametrize("up", ["bare", "defended"])
def test_names_that_nobody_knows_keep_uvloop_from_one_that_is_known(up: str, tmp_path: Path) -> None:
    """The fault: it looks two up at a time. The defence: whoever asks for the same name asks once."""
    resolver = tmp_path / "resolv.conf"
    resolver.write_text("nameserver 127.0.5.3\noptions timeout:2 attempts:1\n")
    told = subprocess.run(
        [
            *("unshare", "--mount", "sh", "-c", 'mount --bind "$0" /etc/resolv.conf && exec "$@"', resolver),
            *(sys.executable, "-c", _WHO_COMES_FIRST, up),
        ],
        check=True,
        capture_output=True,
        text=True,
    )
    first = {"bare": "gone", "defended": "localhost"}
    assert told.stdout.split()[0] == first[up], told
