"""A tiny real service for tests that kill or freeze it: reserve, act, record; `python -m tests.support.bus_service`.

It ends or freezes itself at a named point when the environment says so (`GPKI_TEST_AT=kill:acted:3`: at the third time
that it comes to `acted`); the points are in this handler, never in the product.
"""

import asyncio
import json
import os
import secrets
import signal
import sys
from pathlib import Path
from typing import Any, Final

from deploy.native.layout import open_layout
from libs.bus.bus import Bus
from libs.bus.outcomes import Done, Emit
from libs.bus.work import Work
from libs.contracts.topics import Topic
from libs.runtime.health import Health
from libs.runtime.logging import configure_logging
from tests.support.bus import SESSION_MS, Room, Step, declared, open_room_pool
from tests.support.stack import WITH_US, Stack

AT: Final = "GPKI_TEST_AT"
WIRING: Final = "GPKI_TEST_WIRING"
POINTS: Final = ("reserved", "acted", "recording", "recorded")
SIGNALS: Final = {"kill": signal.SIGKILL, "freeze": signal.SIGSTOP}

TABLES: Final = """
CREATE TABLE reservation (document text PRIMARY KEY, token integer NOT NULL);
CREATE TABLE act (document text NOT NULL, token integer NOT NULL, pid integer NOT NULL);
CREATE TABLE effect (document text NOT NULL, token integer NOT NULL, pid integer NOT NULL);
"""
"""What was fixed before the act; every time it was acted; what was recorded. Only the first has a key: doubles show."""


class Points:
    """Where this process does to itself what the environment says."""

    def __init__(self, told: str) -> None:
        self._action, self._point, count = told.split(":") if told else ("", "", "0")
        self._left = int(count)

    def come_to(self, point: str) -> None:
        if point == self._point:
            self._left -= 1
            if self._left == 0:
                os.kill(os.getpid(), SIGNALS[self._action])


def handler(target: Topic, pool: Any, points: Points) -> Any:
    """Reserve a token that no replay changes, act with it, record what was done."""

    async def handle(work: Work[Step]) -> None:
        names = [delivery.event.document for delivery in work.deliveries]
        async with work.reserving() as connection:
            await connection.executemany(
                "INSERT INTO reservation VALUES ($1, $2) ON CONFLICT DO NOTHING",
                [(name, secrets.randbelow(2**30)) for name in names],
            )
            rows = await connection.fetch("SELECT * FROM reservation WHERE document = ANY ($1)", names)
        tokens = {row["document"]: row["token"] for row in rows}
        points.come_to("reserved")
        async with pool.acquire() as connection:
            await connection.executemany(
                "INSERT INTO act VALUES ($1, $2, $3)", [(name, tokens[name], os.getpid()) for name in names]
            )
        points.come_to("acted")
        async with work.recording(*work.deliveries) as recording:
            for delivery in recording.deliveries:
                name = delivery.event.document
                await recording.connection.execute(
                    "INSERT INTO effect VALUES ($1, $2, $3)", name, tokens[name], os.getpid()
                )
                done = delivery.event.model_copy(update={"number": tokens[name]})
                recording.settle(delivery, Done((Emit(target, done),)))
            points.come_to("recording")
        points.come_to("recorded")

    return handle


async def serve(wiring: dict[str, str]) -> None:
    """Until SIGTERM."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    stack = Stack(open_layout(Path(wiring["state"])))
    pool = await open_room_pool(stack, wiring["schema"])
    bus = Bus(
        service=wiring["schema"],
        kafka=stack.kafka,
        pool=pool,
        health=Health(wiring["schema"]),
        session_ms=SESSION_MS,
    )
    target = declared(wiring["target"])
    bus.consume({declared(wiring["source"]): handler(target, pool, Points(os.environ.get(AT, "")))}, max_records=20)
    async with bus:
        await stop.wait()
    await pool.close()


class Process:
    """One such process, seen from the test."""

    def __init__(self, child: asyncio.subprocess.Process) -> None:
        self.child = child

    @property
    def state(self) -> str:
        """The kernel's letter: R, S, T (stopped), Z or X (gone)."""
        if self.child.returncode is not None:
            return "X"
        return Path(f"/proc/{self.child.pid}/stat").read_text().rsplit(")", 1)[1].split()[0]

    @property
    def serves(self) -> bool:
        """Whether it would stop at SIGTERM in its own way; before that, it dies of it."""
        caught = next(
            line for line in Path(f"/proc/{self.child.pid}/status").read_text().splitlines() if line[:7] == "SigCgt:"
        )
        return bool(int(caught.split()[1], 16) >> (signal.SIGTERM - 1) & 1)

    def send(self, number: int) -> None:
        if self.child.returncode is None:
            self.child.send_signal(number)

    async def ended(self) -> int:
        return await asyncio.wait_for(self.child.wait(), 60)


async def start(room: Room, source: Topic, target: Topic, *, at: str = "") -> Process:
    """Start one; it ends with the test."""
    wiring = {
        "state": str(room.stack.layout.state),
        "schema": room.schema,
        "source": source.name,
        "target": target.name,
    }
    child = await asyncio.create_subprocess_exec(
        *WITH_US,
        sys.executable,
        "-m",
        "tests.support.bus_service",
        env={**os.environ, WIRING: json.dumps(wiring), AT: at},
        stdout=asyncio.subprocess.DEVNULL,
    )
    process = Process(child)

    async def end() -> None:
        process.send(signal.SIGKILL)
        await process.ended()

    room.resources.push_async_callback(end)
    return process


if __name__ == "__main__":
    configure_logging("test", "WARNING")
    asyncio.run(serve(json.loads(os.environ[WIRING])))
