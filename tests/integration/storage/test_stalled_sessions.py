"""A replica that freezes in the middle of a statement holds its twin only until the twin asks what is the matter."""

import asyncio
import os
import signal
import sys

import asyncpg
import pytest

from libs.storage.pool import end_stalled_sessions
from tests.support.bus import ROLE, Room, open_room
from tests.support.stack import Stack
from tests.support.waiting import eventually

pytestmark = pytest.mark.stack

CLIENT = """
import asyncio, sys, asyncpg

async def main():
    dsn, schema = sys.stdin.readline().split()
    connection = await asyncpg.connect(dsn, server_settings={
        "search_path": schema, "idle_in_transaction_session_timeout": "5s", "statement_timeout": "5s"})
    async with connection.transaction():
        await connection.execute("INSERT INTO taken VALUES (1)")
        print("taken", flush=True)
        await connection.execute("INSERT INTO awaited VALUES ($1::int)", 1)

asyncio.run(main())
"""


@pytest.fixture
async def room(stack: Stack):
    async with open_room(stack) as found:
        await found.pool.execute("CREATE TABLE taken (n int PRIMARY KEY); CREATE TABLE awaited (n int)")
        yield found


async def test_a_client_frozen_between_parse_and_sync_is_ended_by_its_twin(room: Room) -> None:
    async def stuck() -> int | None:
        return await room.pool.fetchval(
            "SELECT pid FROM pg_stat_activity WHERE usename = current_user AND query LIKE 'INSERT INTO awaited%' "
            "AND state = 'active' AND wait_event = 'ClientRead' AND query_start < clock_timestamp() - interval '7 s'"
        )

    superuser = await room.superuser()
    client = await asyncio.create_subprocess_exec(
        sys.executable, "-c", CLIENT, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    assert client.stdin
    assert client.stdout
    try:
        async with superuser.transaction():
            await superuser.execute(f"LOCK TABLE {room.schema}.awaited IN SHARE MODE")
            client.stdin.write(f"{room.stack.postgres_dsn(ROLE)} {room.schema}\n".encode())
            assert await client.stdout.readline() == b"taken\n"
            await eventually(
                lambda: superuser.fetchval(
                    "SELECT count(*) FROM pg_locks WHERE relation = $1::text::regclass AND NOT granted",
                    f"{room.schema}.awaited",
                ),
                "the client waits while its statement is parsed",
            )
            os.kill(client.pid, signal.SIGSTOP)
        assert await eventually(stuck, "neither time-out of 5 s has reached it")
        with pytest.raises(asyncpg.LockNotAvailableError):
            await room.pool.execute("SET lock_timeout = '200ms'; INSERT INTO taken VALUES (1)")

        async with room.pool.acquire() as connection:
            assert await end_stalled_sessions(connection) == 1

            async def none_left() -> bool:
                return await end_stalled_sessions(connection) == 0

            await eventually(none_left, "it has ended")

        await eventually(lambda: _inserted(room), "the twin goes on")
    finally:
        client.kill()
        await client.wait()
        await superuser.close()


async def _inserted(room: Room) -> bool:
    try:
        await room.pool.execute("INSERT INTO taken VALUES (1)")
    except asyncpg.LockNotAvailableError:  # its end takes a moment
        return False
    return True
