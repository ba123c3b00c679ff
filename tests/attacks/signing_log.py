"""A request whose documents are posted and in a countersigned checkpoint, and full access to the tables below it."""

import json
import os
import re
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest
import pytest_asyncio
from aiokafka import AIOKafkaProducer
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from deploy.native.parts import operator_environment, service_environment
from deploy.native.secret_files import ensure_secret
from libs.contracts import topics
from libs.contracts.cloudevents import encode
from libs.contracts.log import LogCheckpoint
from libs.crypto import notes
from libs.crypto.notes import Checkpoint, read_key
from libs.hsm.hsm import Hsm
from libs.runtime.clock import utc_now
from services.posting.log_key import LABEL
from tests.support.chain import Client, Officers, Request, papers
from tests.support.command_line import gpki
from tests.support.waiting import eventually

SECONDS = 90
"""Until posted documents are in a countersigned checkpoint, on a machine that does other things too."""

_END_TRANSACTIONS = """
SELECT count(pg_terminate_backend(pid)) = 0 FROM pg_stat_activity WHERE usename = 'posting' AND xact_start IS NOT NULL
"""

TABLES = ("record", "record_content", "signing_log", "log_node", "checkpoint")


@dataclass
class Victim:
    """A request whose five documents are posted, and in a checkpoint that log and witness have signed."""

    client: Client
    asked: Request
    positions: list[int]

    async def do(self, statement: str, *arguments: Any) -> None:
        await self.client.database.execute(statement, *arguments)

    async def audit(self) -> tuple[int, dict[str, list[str]]]:
        """Exit code, and what was found: kind → places."""
        status, told, why = await gpki(self.client.stack, "audit", more=operator_environment(self.client.stack.layout))
        assert why == ""
        found: dict[str, list[str]] = {}
        for line in told.splitlines():
            if line.startswith("! "):
                found[line[2:].rpartition(":")[0]] = []
            elif line.startswith("    ") and found:
                found[list(found)[-1]].append(line.strip())
        return status, found

    async def freeze(self) -> None:
        """posting stands still and leaves no transaction open: of a client that is frozen one might never end."""
        self.client.stack.kill("posting", signal.SIGSTOP)
        await eventually(lambda: self.client.value(_END_TRANSACTIONS), "posting is in no transaction")

    @asynccontextmanager
    async def touched(self) -> AsyncIterator[None]:
        """posting's tables may be changed in any way; posting is frozen meanwhile, and all is put right after."""
        try:
            await self.freeze()
            for table in TABLES:
                await self.do(f"DROP TABLE IF EXISTS public.saved_{table}")
                await self.do(f"CREATE TABLE public.saved_{table} AS TABLE posting.{table}")
            try:
                yield
            finally:
                await self.freeze()
                for table in TABLES:
                    await self.do(f"TRUNCATE posting.{table}")
                    await self.do(f"INSERT INTO posting.{table} SELECT * FROM public.saved_{table}")
                    await self.do(f"DROP TABLE public.saved_{table}")
        finally:  # others use the stack too
            self.client.stack.kill("posting", signal.SIGCONT)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def victim(client: Client, officers: Officers) -> Victim:
    asked = await _countersigned(client, officers, 5)
    await _countersigned(client, officers, 2)  # in a checkpoint of its own, behind
    seen = [asked.seen.documents[paper.entry.id].posted for paper in asked.papers]
    return Victim(client, asked, sorted(one.log_position for one in seen if one is not None))


async def _countersigned(client: Client, officers: Officers, count: int) -> Request:
    asked = await client.press(officers.maker, papers(count))
    assert len((await asked.sign()).posted) == count
    seen = [asked.seen.documents[paper.entry.id].posted for paper in asked.papers]
    told = [one for one in seen if one is not None]
    await client.chain.wait(lambda: all(map(client.chain.log.covers, told)), "countersigned", seconds=SECONDS)
    return asked


def between(said: str, place: int) -> bool:
    """Whether `positions A to B: …` has this place in it."""
    found = re.match(r"positions (\d+) to (\d+):", said)
    return found is not None and int(found[1]) <= place <= int(found[2])


def alarms(stack: Any, name: str) -> list[dict[str, Any]]:
    lines = stack.layout.log("monitor").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines if f'"{name}"' in line and '"alarm"' in line]


async def signed_by_the_log(stack: Any, checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch) -> str:
    environment = service_environment(stack.layout, "posting")
    monkeypatch.setitem(os.environ, "SOFTHSM2_CONF", environment["SOFTHSM2_CONF"])
    pin = ensure_secret(stack.layout.secrets("posting"), "hsm_pin")
    key = read_key((stack.layout.pki / "log.vkey").read_text())
    hsm = await Hsm.open(environment["GPKI_PKCS11_MODULE"], environment["GPKI_PKCS11_TOKEN_LABEL"], pin)
    try:
        return await hsm.with_private_key(
            LABEL,
            lambda private: notes.sign(checkpoint, key, lambda data: private.sign(data, ec.ECDSA(hashes.SHA256()))),  # type: ignore[arg-type,call-arg]
        )
    finally:
        await hsm.aclose()


async def publish(stack: Any, note: str) -> None:
    event = LogCheckpoint(note=note, previous=0, consistency=())
    record = encode(topics.LOG_CHECKPOINT, event, source="posting", time=utc_now())
    producer = AIOKafkaProducer(**stack.kafka.options())
    await producer.start()
    try:
        await producer.send_and_wait(record.topic, key=record.key, value=record.value, headers=list(record.headers))
    finally:
        await producer.stop()
