"""What uvloop does when a broker's name is known to nobody; and that it is kept from the other brokers."""

import asyncio
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from aiokafka.conn import AIOKafkaConnection
from aiokafka.errors import KafkaConnectionError

from libs.bus import connecting
from tests.support.waiting import eventually

BOUND = 0.3


class Resolver:
    """The system's, which answers when it is told to: that there is no such name."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.answer = asyncio.Event()

    async def getaddrinfo(self, host: str, *_: Any, **__: Any) -> None:
        self.asked.append(host)
        await self.answer.wait()
        raise socket.gaierror(socket.EAI_AGAIN, "no answer")


@pytest.fixture
async def resolver(monkeypatch: pytest.MonkeyPatch) -> Resolver:
    """In place of the system's, of a process that has found another broker."""
    monkeypatch.setattr(connecting, "_names", {"there": connecting._Name(found=True)})
    monkeypatch.setattr(connecting, "LOOK_UP_BOUND", BOUND)
    connecting.install()
    found = Resolver()
    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", found.getaddrinfo)
    return found


def connecting_to(host: str, port: int = 1) -> asyncio.Task[Any]:
    """An attempt of a client that would wait a minute."""
    return asyncio.create_task(AIOKafkaConnection(host, port, request_timeout_ms=60_000).connect())


async def seconds_to_time_out(host: str) -> float:
    """How long one attempt takes, made as soon as the name is not left alone any more."""
    began = 0.0

    async def given_up() -> bool:
        nonlocal began
        began = time.monotonic()
        with pytest.raises((TimeoutError, KafkaConnectionError)) as raised:
            await connecting_to(host)
        return raised.type is TimeoutError

    await eventually(given_up, "an attempt", every=0.01)
    return time.monotonic() - began


async def test_a_name_without_an_answer_is_given_up_and_left_alone_for_as_long_as_it_took(resolver: Resolver) -> None:
    took = await seconds_to_time_out("gone")
    given_up = time.monotonic()
    with pytest.raises(KafkaConnectionError, match="a moment ago"):
        await connecting_to("gone")
    longer = await seconds_to_time_out("gone")
    assert BOUND <= took < connecting.LONGEST
    assert time.monotonic() - given_up - longer >= 0.99 * BOUND
    assert longer >= 2 * BOUND  # a slow resolver is waited for in the end
    resolver.answer.set()


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
