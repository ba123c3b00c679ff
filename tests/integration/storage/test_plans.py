"""What a statement reads follows from what it is asked for, however large its table has grown since it was planned."""

import json
from collections.abc import Iterator
from hashlib import sha256
from typing import Any
from uuid import UUID, uuid4

import pytest

from deploy.native.layout import CHECKOUT, SERVICES
from libs.bus.slices import SLICE
from libs.storage import ledger
from libs.storage.migrations import LEDGER_MIGRATIONS, migrate
from libs.storage.pool import Connection
from libs.storage.queries import load_queries
from services.hsm_signer import store
from services.hsm_signer.app import MIGRATIONS
from tests.support.bus import open_room
from tests.support.stack import Stack

pytestmark = pytest.mark.stack

PLANNED_FOR_GOOD = 6
"""Executions after which PostgreSQL keeps a prepared statement's plan."""

MANY = 1_000


async def rows_read(connection: Connection, table: str) -> int:
    """Rows of a table that this transaction has read so far."""
    query = "SELECT seq_tup_read + idx_tup_fetch FROM pg_stat_xact_user_tables WHERE relid = $1::text::regclass"
    return int(await connection.fetchval(query, table))


async def sign_next(connection: Connection, request_id: UUID, after: int = -1) -> list[int]:
    indexes, _, _ = await store.next_slice(connection, request_id, request_id, SLICE, after=after)
    await store.mark_signed(connection, request_id, indexes or [0, 1])
    return indexes


async def test_a_slice_of_a_long_request_reads_its_own_documents_only(stack: Stack) -> None:
    async with open_room(stack) as room:
        await migrate(room.pool, [MIGRATIONS])
        async with room.pool.acquire() as connection:
            for _ in range(PLANNED_FOR_GOOD):
                assert await sign_next(connection, uuid4()) == []
            request_id = uuid4()
            await connection.execute(
                "INSERT INTO document (request_id, index, document_id)"
                " SELECT $1, n, n::text FROM generate_series(0, $2) AS n",
                request_id,
                MANY - 1,
            )
            for slice_ in range(3):
                async with connection.transaction():
                    first = slice_ * SLICE
                    assert await sign_next(connection, request_id, first - 1) == list(range(first, first + SLICE))
                    assert await rows_read(connection, "document") <= 10 * SLICE, "of a thousand"


async def test_a_delivery_is_found_in_the_inbox_without_reading_the_others(stack: Stack) -> None:
    async with open_room(stack) as room, room.pool.acquire() as connection:
        for _ in range(PLANNED_FOR_GOOD):
            await ledger.seen(connection, [uuid4()], [uuid4()])
        ids = [uuid4() for _ in range(MANY)]
        await ledger.claim(connection, [(one, sha256(one.bytes).digest()) for one in ids])
        async with connection.transaction():
            found, left = await ledger.seen(connection, ids[:SLICE], ids[:SLICE])
            assert found.keys() == set(ids[:SLICE])
            assert left == []
            assert await rows_read(connection, "inbox") <= 2 * SLICE


SMALL = {"sealing_key", "unpublished", "settings_policy", "certificate_one_per_authority", "certificate_changed"}
"""Tables and indexes that may be read whole: a row a day, what the broker has not acknowledged yet, a row for each
policy that two people signed, the authorities themselves, and the certificates that were suspended or revoked, of which
every CRL lists the most."""


WHOLE = {"restore.sql"}
"""What backs up or restores a whole table, by a command and never by a service."""


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """A plan's steps, the inner ones too."""
    yield plan
    for inner in plan.get("Plans", ()):
        yield from nodes(inner)


def grows_with_the_table(node: dict[str, Any]) -> bool:
    """Whether a step goes through a table, or an index, from end to end: no condition chooses among its rows."""
    whole = "Relation Name" in node and "Index Cond" not in node and node["Node Type"] != "ModifyTable"
    return whole and not SMALL & {node["Relation Name"], node.get("Index Name")}


async def plan_of(connection: Connection, query: str) -> dict[str, Any]:
    """The plan that is kept for a statement, whatever it is asked."""
    await connection.execute(f"PREPARE asked AS {query}")
    count = await connection.fetchval(
        "SELECT cardinality(parameter_types) FROM pg_prepared_statements WHERE name = 'asked'"
    )
    arguments = f"({', '.join(['NULL'] * count)})" if count else ""
    (told,) = json.loads(await connection.fetchval(f"EXPLAIN (FORMAT JSON) EXECUTE asked{arguments}"))
    await connection.execute("DEALLOCATE asked")
    plan: dict[str, Any] = told["Plan"]
    return plan


@pytest.mark.parametrize("service", SERVICES)
async def test_no_statement_reads_a_table_or_an_index_from_end_to_end(stack: Stack, service: str) -> None:
    """As a plan is kept from when the tables are empty, which is how every installation begins.

    A condition counts, however weak: that a limit stands above a bare range is for whoever writes it to see.
    """
    sql = CHECKOUT / "services" / service / "sql"
    async with open_room(stack) as room, room.pool.acquire() as connection:
        await migrate(room.pool, [sql / "migrations"])
        await connection.execute("SET plan_cache_mode = force_generic_plan")
        costly = []
        asked = (*LEDGER_MIGRATIONS.parent.glob("*.sql"), *sql.glob("*.sql"))
        for file in (one for one in asked if one.name not in WHOLE):
            for name, query in load_queries(file).items():
                plan = await plan_of(connection, query)
                costly += [f"{file.name}: {name}" for node in nodes(plan) if grows_with_the_table(node)]
    assert costly == []
