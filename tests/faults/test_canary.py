"""PIN and OTP of everything that was typed are found nowhere: not in Kafka, the database, the logs, the dead letters.

The mails hold the OTP by nature and are left out. I-10, I-16.
"""

import asyncio
import base64
import mmap
import os
import re
import secrets
import subprocess
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import asyncpg
import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import NewTopic

from libs.bus.topics import administration
from libs.contracts import topics
from tests.support.chain import PIN_PREFIX, Client, Officers, papers, wrong
from tests.support.faults import all_read
from tests.support.journal import dead_letters, history
from tests.support.mobile import on_phone
from tests.support.stack import Stack

pytestmark = [pytest.mark.stack, pytest.mark.timeout(180)]

NEAR = re.compile(rb"[0-9A-Za-z.+/_:-]")
"""Six digits within a longer word are a time, an amount or part of a hash. A code that leaked stands alone."""

PLANTED = "Qs7vu-"
"""How the planted PINs begin: what is planted lies about for a while, and must not be taken for one that was typed."""

MESSAGE = "ialah OTP anda. Rujukan"
"""In every message that carries a code."""

PLACES = ("starts", "value_size", "headers_size", "size")
"""Integers that say where something stands and how long it is: of thousands one is a code by chance."""

SEGMENTS = {"kafka": "*.log"}
"""Kafka's records; its indexes are large, sparse, and hold numbers."""


Content: TypeAlias = "bytes | mmap.mmap"
Found: TypeAlias = "dict[tuple[str, str], bytes]"


@dataclass(frozen=True)
class Wanted:
    """How secret texts begin, which may stand as they are, in hex, in UTF-16, or anywhere in base64; and the codes."""

    texts: tuple[str, ...]
    codes: frozenset[bytes]

    def text_in(self, content: Content) -> bytes | None:
        """The text that stands there, with its surroundings; None if none does."""
        places = (content.find(form) for text in self.texts for form in forms(text))
        return next((around(content, at) for at in places if at >= 0), None)


def forms(text: str) -> list[bytes]:
    plain, base = text.encode(), base64.b64encode
    # The characters that depend on nothing but the text, wherever it stands in the bytes that were encoded.
    encoded = (base(b"\0" * n + plain)[-(-n * 8 // 6) : (n + len(plain)) * 8 // 6] for n in range(3))
    return [plain, plain.hex().encode(), plain.hex().upper().encode(), text.encode("utf-16-le"), *encoded]


def around(content: Content, at: int) -> bytes:
    return bytes(content[max(0, at - 40) : at + 40])


def alone(content: Content, at: int) -> bool:
    return not NEAR.match(content[max(0, at - 1) : at]) and not NEAR.match(content[at + 6 : at + 7])


def wanted(*texts: str, codes: Iterable[str] = ()) -> Wanted:
    return Wanted(texts, frozenset(code.encode() for code in codes))


def search(what: Wanted, folder: Path, files: str = "*") -> Found:
    """Files below a folder in which a text or a code stands, and what stands there."""
    found: Found = {}
    for file in folder.rglob(files):
        with suppress(FileNotFoundError):  # it was deleted meanwhile
            if file.is_file() and file.stat().st_size:
                with opened(file) as content:
                    hit = what.text_in(content)
                if hit:
                    found[str(file.relative_to(folder)), "text"] = hit
    for name, at in places(what.codes, folder, files):
        with suppress(FileNotFoundError), opened(Path(name)) as content:
            if alone(content, at):
                found[str(Path(name).relative_to(folder)), "code"] = around(content, at)
    return found


def places(codes: frozenset[bytes], folder: Path, files: str) -> list[tuple[str, int]]:
    """File and offset of each code; by grep, which reads a gigabyte in the time that Python reads ten megabytes."""
    with tempfile.NamedTemporaryFile() as patterns:
        patterns.write(b"\n".join(codes))
        patterns.flush()
        command = ["grep", "-rabowF", "--null", "-f", patterns.name, f"--include={files}", str(folder)]
        ended = subprocess.run(command, capture_output=True, env={"LC_ALL": "C"}, timeout=120, check=False)
    assert ended.returncode < 2 or b"No such file" in ended.stderr, ended.stderr  # it was deleted meanwhile
    lines = (line.partition(b"\0") for line in ended.stdout.splitlines() if codes)
    return [(os.fsdecode(name), int(place.partition(b":")[0])) for name, _, place in lines]


@contextmanager
def opened(file: Path) -> Iterator[mmap.mmap]:
    with file.open("rb") as source, mmap.mmap(source.fileno(), 0, access=mmap.ACCESS_READ) as content:
        yield content


_TABLES = """
SELECT table_schema, table_name, array_agg(column_name::text)
FROM information_schema.columns JOIN information_schema.tables USING (table_schema, table_name)
WHERE table_schema NOT IN ('pg_catalog', 'information_schema') AND table_type = 'BASE TABLE'
    AND NOT (data_type = 'integer' AND column_name = ANY ($1::text[]))
GROUP BY 1, 2
"""


async def dump(client: Client, what: Wanted) -> Found:
    """Tables of every schema, as text, in which it stands."""
    tables = await client.database.fetch(_TABLES, PLACES)
    with tempfile.TemporaryDirectory() as folder:
        async with client.database.acquire() as connection:
            for schema, table, columns in tables:
                output = Path(folder, f"{schema}.{table}")
                await connection.copy_from_table(table, schema_name=schema, columns=columns, output=output)
        return await asyncio.to_thread(search, what, Path(folder))


async def everywhere(client: Client, what: Wanted) -> Found:
    """Every place of the stack but the officers' mailboxes and the tokens, which hold no PIN of an officer."""
    await client.database.execute("CHECKPOINT")  # what is in memory only is on the disk then
    layout = client.stack.layout
    found = await dump(client, what)
    for folder in (
        layout.broker_data("kafka"),
        layout.postgres_data,
        layout.state / "log",
        layout.state / "hsm",
        layout.pki,
    ):
        hits = await asyncio.to_thread(search, what, folder, SEGMENTS.get(folder.name, "*"))
        found |= {(f"{folder.name}/{name}", kind): hit for (name, kind), hit in hits.items()}
    return found


async def test_no_pin_and_no_code_is_anywhere(client: Client, officers: Officers) -> None:
    """Right, wrong and broken ones, of single documents, a Pukal, an enrolment and a dead letter."""
    officer, phoner = [await client.enrol(algorithm="p-256") for _ in range(2)]
    mobile = await on_phone(client, phoner)  # before a first code: a later phone would wait for a day
    mistyped = f"{PIN_PREFIX}{secrets.token_hex(6)}"
    single, pukal = await asyncio.gather(client.press(officer, papers(1)), client.press(officers.maker, papers(60)))
    code = await single.otp()
    other = wrong(code)
    client.otps.add(other)
    await single.failure(await single.authorise(otp=code, pin=mistyped))
    await single.failure(await single.authorise(otp=other))
    twisted = single.signed.model_copy(update={"signature": b"\0" * 64})
    await single.submit(otp=code, signed=twisted)
    assert await dead_letters(client.stack, topics.AUTHORISATION_SUBMITTED, single.id, count=1)
    await single.authorise(otp=code)
    phoned = await client.press(phoner, papers(1))
    await phoned.authorise(otp=await mobile.otp(phoned))
    await asyncio.gather(single.end(), pukal.sign(), phoned.end())
    await all_read(client.stack)

    assert len(client.otps) >= 3
    assert (await phoned.dispatched()).channel == "gpki-mobile"
    assert await everywhere(client, wanted(PIN_PREFIX, MESSAGE, codes=client.otps)) == {}


async def test_the_search_finds_what_is_there(client: Client) -> None:
    """In every kind of place, whichever way it is written."""
    stack = client.stack
    pin, code = f"{PLANTED}{secrets.token_hex(6)}", "734928"
    secret = b"\x01" + code.encode() + b"\x00\x12" + pin.encode()
    layout = stack.layout
    planted = layout.log("canary")
    topic = await throw_away_topic(stack, f'{{"sealed":"{base64.b64encode(secret).decode()}"}}'.encode())
    connection = await asyncpg.connect(stack.postgres_dsn("postgres"))
    try:
        await connection.execute("DROP SCHEMA IF EXISTS canary CASCADE; CREATE SCHEMA canary")
        await connection.execute("CREATE TABLE canary.kept (value bytea, said text)")
        await connection.execute("INSERT INTO canary.kept VALUES ($1, $2)", secret, f'{{"otp": "{code}"}}')
        planted.write_text(f"event='authorised' otp={code}\n")
        found = await everywhere(client, wanted("nobody-typed-this", PLANTED, codes=[code]))
    finally:
        await connection.execute("DROP SCHEMA canary CASCADE")
        await connection.close()
        planted.unlink(missing_ok=True)
    assert {("canary.kept", "text"), ("canary.kept", "code"), ("log/canary.log", "code")} < set(found)
    pins = [name for name, kind in found if kind == "text"]
    assert any(name.startswith(f"kafka/{topic}") for name in pins), "Kafka keeps batches as they are"
    assert any(name.startswith("postgres/") for name in pins)


async def throw_away_topic(stack: Stack, value: bytes) -> str:
    topic = stack.unique_topic("canary")
    async with administration(stack.kafka) as admin:
        await admin.create_topics([NewTopic(topic, 1, 1)])
    producer = AIOKafkaProducer(**stack.kafka.options())
    await producer.start()
    try:
        await producer.send_and_wait(topic, value)
    finally:
        await producer.stop()
    return topic


async def test_batches_are_not_compressed_so_that_the_search_sees_them(client: Client, officers: Officers) -> None:
    request = await client.press(officers.maker, papers(1))
    await request.sign()
    document = request.papers[0].entry.id
    assert await history(client.stack, topics.SIGNED)
    hits = await asyncio.to_thread(search, wanted(document), client.stack.layout.broker_data("kafka"), "*.log")
    seen = {name.split("/")[0].rpartition("-")[0] for name, _ in hits}
    assert {topics.REQUESTED.name, topics.MEDIUM_RESOLVED.name, topics.SIGNED.name, topics.POSTED.name} <= seen
