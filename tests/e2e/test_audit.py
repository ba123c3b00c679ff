"""`gpki audit` and the daily file against the running chain: what they say is what posting has, also across a kill."""

import asyncio
import csv
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from aiokafka import AIOKafkaProducer

from deploy.native.parts import operator_environment
from libs.contracts import topics
from libs.contracts.cloudevents import encode
from libs.runtime.clock import utc_now
from services.monitor.closing import Closing, midnight_after
from services.monitor.facts import KUALA_LUMPUR
from tests.integration.monitor.conftest import request, signed
from tests.support.chain import Client, Officers, Request, papers
from tests.support.command_line import gpki
from tests.support.faults import all_read
from tests.support.journal import dead_letters
from tests.support.service import service_pool
from tests.support.waiting import eventually

pytestmark = pytest.mark.stack


async def audit(client: Client, *options: str, **more: str) -> tuple[int, list[str], str]:
    """Exit code, lines, complaint."""
    environment = operator_environment(client.stack.layout) | more
    status, told, why = await gpki(client.stack, "audit", *options, more=environment)
    return status, told.splitlines(), why


async def found(client: Client, asked: Request, *options: str) -> list[str]:
    """The kinds of findings under which a request is named. Whatever other tests left there is not ours."""
    _, lines, why = await audit(client, *options)
    assert why == ""
    kinds, kind = [], ""
    for line in lines:
        if line.startswith("! "):
            kind = line[2:].rpartition(":")[0]
        elif str(asked.id) in line:
            kinds.append(kind)
    return kinds


async def signed_whole(client: Client, officers: Officers, count: int) -> Request:
    asked = await client.press(officers.maker, papers(count))
    assert len((await asked.sign()).posted) == count
    return asked


@asynccontextmanager
async def touched(client: Client, do: str, undo: str, *arguments: Any) -> AsyncIterator[None]:
    """posting's rows as somebody with full access to the database left them; put right at the end."""
    await client.database.execute(do, *arguments)
    try:
        yield
    finally:
        await client.database.execute(undo, *arguments)


async def test_an_audit_agrees_until_somebody_touches_a_record_and_names_it(client: Client, officers: Officers) -> None:
    """I-37: changed, removed and moved, in the true tables."""
    asked = await signed_whole(client, officers, 5)
    assert await found(client, asked) == []
    _, lines, _ = await audit(client)
    root = next(re.search(r"root (\d+:[0-9a-f]{64})$", line) for line in lines if line.startswith("signing log"))
    assert root is not None
    row = await client.database.fetchrow(
        "SELECT r.record_id, l.position FROM posting.record r JOIN posting.signing_log l USING (record_id)"
        " WHERE r.request_id = $1 AND r.place = 2",
        asked.id,
    )
    assert row is not None
    record_id: UUID = row["record_id"]
    position: int = row["position"]

    async with touched(
        client,
        "UPDATE posting.record SET amount = '9' || amount WHERE record_id = $1",
        "UPDATE posting.record SET amount = substr(amount, 2) WHERE record_id = $1",
        record_id,
    ):
        assert await found(client, asked) == ["records whose columns are not the record's own"]
    flip = (
        "UPDATE posting.record_content AS c SET bytes = set_byte(bytes, starts + 20, get_byte(bytes, starts + 20) # 1)"
        " FROM posting.record AS r WHERE r.content_id = c.content_id AND r.record_id = $1"
    )
    async with touched(client, flip, flip, record_id):
        assert "records that are not what was logged" in await found(client, asked)
        assert (await audit(client))[0] == 1
    await client.database.execute("CREATE TABLE IF NOT EXISTS public.aside (LIKE posting.record)")
    async with touched(
        client,
        "WITH gone AS (DELETE FROM posting.record WHERE record_id = $1 RETURNING *)"
        " INSERT INTO public.aside SELECT * FROM gone",
        "WITH back AS (DELETE FROM public.aside WHERE record_id = $1 RETURNING *)"
        " INSERT INTO posting.record SELECT * FROM back",
        record_id,
    ):
        _, lines, _ = await audit(client)
        assert f"    position {position}: record {record_id}" in lines
        assert await found(client, asked) == ["posted, and there is no record"]
    await client.database.execute("DROP TABLE public.aside")
    assert await found(client, asked, "--known", root[1]) == []
    altered = f"{root[1][:-1]}{'0' if root[1][-1] != '0' else '1'}"
    status, lines, _ = await audit(client, "--known", altered)
    assert status == 1
    assert "! positions that are not what was signed: 1" in lines


async def test_an_audit_and_the_monitor_name_what_is_signed_and_never_posted(client: Client) -> None:
    """I-35, I-37: until an operator ends it."""
    asked = request()
    (event,) = signed(asked)
    record = encode(topics.SIGNED, event, source="test", time=utc_now())
    # Under a header of another request, so that crl_verifier buries it: it waits for an operator.
    value = record.value.replace(f'"request":"{asked.header.request}"'.encode(), b'"request":"another"')
    producer = AIOKafkaProducer(**client.stack.kafka.options())
    await producer.start()
    try:
        await producer.send_and_wait(record.topic, key=record.key, value=value, headers=list(record.headers))
    finally:
        await producer.stop()
    (letter,) = await dead_letters(client.stack, topics.SIGNED, event.key, count=1)
    query = "SELECT rejected_at IS NULL FROM monitor.document WHERE request_id = $1 AND signed_at IS NOT NULL"

    await eventually(lambda: client.value(query, event.request_id), "the monitor has it as open")
    status, lines, _ = await audit(client, "--late", "0")
    assert status == 1
    what = next(number for number, line in enumerate(lines) if line.startswith("! signed, and neither posted"))
    assert any(str(event.request_id) in line for line in lines[what:])

    status, _, why = await gpki(
        client.stack, "dlq", "discard", f"{topics.SIGNED.name}:{letter.offset}", "--reason", "a test's"
    )
    assert (status, why) == (0, "")
    await eventually(lambda: client.value(query.replace("NULL FROM", "NOT NULL FROM"), event.request_id), "it is over")
    _, lines, _ = await audit(client, "--late", "0")
    assert not [line for line in lines if str(event.request_id) in line]


async def test_an_audit_that_cannot_ask_says_so_and_is_no_agreement(client: Client) -> None:
    for wrong, what in ({"GPKI_KAFKA_BOOTSTRAP": "127.0.0.1:1"}, "Kafka"), ({"GPKI_POSTGRES_PORT": "1"}, "PostgreSQL"):
        status, lines, why = await audit(client, **wrong)
        assert (status, lines) == (2, [])
        assert f"not audited: {what} could not be asked" in why


async def test_a_daily_file_equals_the_ledger_though_the_monitor_was_killed(
    client: Client, officers: Officers, tmp_path: Path
) -> None:
    """I-36: of everything that was completed on this stack today, in the amounts that posting has."""
    asked = [await client.press(officers.maker, papers(count)) for count in (200, 1, 60)]
    signing = [asyncio.create_task(one.sign()) for one in asked]
    query = "SELECT count(*) FROM posting.record WHERE request_id = $1"
    await eventually(lambda: client.value(query, asked[0].id), "the first is posted")
    await client.stack.killed_and_back("monitor")
    await asyncio.gather(*signing)
    await all_read(client.stack)

    pool = await service_pool(client.stack, "monitor")
    try:
        day = await pool.fetchval("SELECT day FROM request WHERE request_id = $1", asked[0].id)
        closing = Closing(
            service="monitor",
            kafka=client.stack.kafka,
            pool=pool,
            clock=lambda: midnight_after(day) + timedelta(minutes=2),
            directory=tmp_path,
            after=timedelta(minutes=1),
        )
        await closing.look()
    finally:
        await pool.close()
    with (tmp_path / "igfmas" / f"igfmas-{day}.csv").open(newline="", encoding="utf-8") as opened:
        rows = [row for row in csv.DictReader(opened, strict=True) if row["outcome"] == "posted"]
    told = {
        (row["record_id"], row["document_id"], row["amount"], row["currency"], row["user"], row["action"]): (
            datetime.fromisoformat(row["posted_at"])
        )
        for row in rows
    }
    assert len(told) == len(rows), "none twice"
    kept = await client.database.fetch(
        "SELECT record.* FROM posting.record JOIN posting.request USING (request_id)"
        " WHERE completed_at IS NOT NULL AND header::json ->> 'caller' = 'igfmas'"
        " AND (completed_at AT TIME ZONE 'Asia/Kuala_Lumpur')::date = $1",
        day,
    )
    assert len(kept) >= 261
    assert told == {
        (str(row["record_id"]), row["document_id"], row["amount"], row["currency"], row["user_id"], row["action"]): (
            row["posted_at"].astimezone(KUALA_LUMPUR)
        )
        for row in kept
    }
