"""monitor on the real stack, in this process; it reads from where the topics ended when the test began."""

from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg
import pytest_asyncio
from aiokafka import TopicPartition
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from pydantic import SecretStr

from libs.bus.topics import administration, create_topics
from libs.contracts import topics
from libs.contracts.base import Event
from libs.contracts.log import LOG_KEY_FILE
from libs.contracts.manifest import Manifest, SignedManifest
from libs.contracts.reasons import Reason
from libs.contracts.record import record_id_of
from libs.contracts.signing import (
    Completed,
    MediumResolved,
    Posted,
    PostedDocument,
    Rejected,
    RejectedDocuments,
    Signed,
)
from libs.contracts.token_route import TokenSigned
from libs.contracts.topics import Topic
from libs.crypto import notes
from libs.crypto.merkle import tree_root
from libs.crypto.requests import new_signing_key
from libs.runtime.clock import utc_now
from libs.runtime.health import Health
from libs.storage.pool import Pool
from services.monitor.app import serve
from services.monitor.facts import READ
from services.monitor.settings import Settings
from services.monitor.witness_reading import POSTED
from tests.support.bus import SESSION_MS
from tests.support.documents import document, fresh_ids, manifest, shaped
from tests.support.faults import reset
from tests.support.journal import ends_of
from tests.support.pki import Pki
from tests.support.producers import Hands
from tests.support.service import common_settings, service_pool
from tests.support.stack import Stack
from tests.support.waiting import eventually
from tests.support.wire import Wire, open_wire

USER = "800101145678"
LOG_PRIVATE = ec.generate_private_key(ec.SECP256R1())
LOG_KEY = notes.log_key("test-log", LOG_PRIVATE.public_key())
WITNESS_KEY = new_signing_key().decode()
MOMENT = timedelta(milliseconds=200)


def request(count: int = 1, **options: Any) -> Manifest:
    """What somebody was asked to sign."""
    return manifest(USER, [document(name) for name in fresh_ids(count)], **options)


def resolved(asked: Manifest) -> MediumResolved:
    return MediumResolved(
        request_id=asked.header.request_id,
        signed=SignedManifest(manifest=asked, caller_key="ab" * 32, signature=b"the caller's"),
        requested_at=utc_now(),
        medium="roaming-otp",
        credential_id=UUID(int=1),
        channels=("e-mail",),
    )


def signed(asked: Manifest) -> list[Signed]:
    """By the HSM; what they sign is nothing that the monitor looks at."""
    return shaped(asked)


def token_signed(asked: Manifest) -> list[TokenSigned]:
    return [TokenSigned.model_validate({**dict(event), "cms": b"a token's"}) for event in signed(asked)]


def posted(asked: Manifest, at: datetime | None = None) -> list[Posted]:
    return [
        Posted(
            request_id=asked.header.request_id,
            document_id=entry.id,
            record_id=record_id_of(asked.header.request_id, entry.id),
            log_position=index,
            leaf_hash=bytes(32),
            posted_at=at or utc_now(),
        )
        for index, entry in enumerate(asked.documents)
    ]


def rejected(asked: Manifest, documents: Sequence[str] | None, *, stage: Any = "crl_verifier") -> Rejected:
    return Rejected(
        request_id=asked.header.request_id,
        header=asked.header,
        documents=None if documents is None else tuple(documents),
        stage=stage,
        reason=Reason.CERTIFICATE_REVOKED,
        safe_to_retry=False,
    )


def completed(asked: Manifest, at: datetime, *, refused: Sequence[str] | None = (), known: bool = True) -> Completed:
    """All that is not refused was posted; None refuses all by one word."""
    names = [entry.id for entry in asked.documents]
    posted_ones = [] if refused is None else [name for name in names if name not in refused]
    whole = None if refused is None else tuple(refused)
    why = RejectedDocuments(documents=whole, stage="hsm_signer", reason=Reason.CERTIFICATE_REVOKED, safe_to_retry=False)
    return Completed(
        request_id=asked.header.request_id,
        header=asked.header if known else None,
        posted=tuple(
            PostedDocument(document_id=name, record_id=record_id_of(asked.header.request_id, name))
            for name in posted_ones
        ),
        rejected=() if whole == () else (why,),
        completed_at=at,
    )


@dataclass
class Watch:
    """What a test has: a wire, the monitor's tables, and monitors to run."""

    stack: Stack
    wire: Wire
    database: Pool
    folder: Path
    pki_dir: Path
    now: datetime = field(default_factory=utc_now)
    """What a monitor's clock shows that was given `clock=watch.clock`."""

    def clock(self) -> datetime:
        return self.now

    @asynccontextmanager
    async def running(self, **options: Any) -> AsyncIterator[Health]:
        """One monitor, which looks often and has little patience."""
        given: dict[str, Any] = {
            "write_every": timedelta(milliseconds=100),
            "look_every": timedelta(milliseconds=100),
            "signed_not_posted_after": MOMENT,
            "token_signed_not_posted_after": MOMENT,
            "posted_not_signed_after": MOMENT,
            "daily_file_after": timedelta(seconds=1),
            "daily_file_dir": self.folder,
            "kafka_session_ms": SESSION_MS,
            "pki_dir": self.pki_dir,
            "witness_key": SecretStr(WITNESS_KEY),
        }
        clock = options.pop("clock", utc_now)
        health = Health("monitor")
        settings = Settings(**common_settings(self.stack, "monitor"), **(given | options))
        async with serve(settings, health, clock=clock):
            yield health

    async def send(self, topic: Topic, events: Iterable[Event]) -> None:
        await self.wire.send(topic, events)

    async def read(self) -> None:
        """Wait until the monitor has written all that is on its topics now."""
        ends = await ends_of(self.stack, *READ)
        async with administration(self.stack.kafka) as admin:

            async def all_committed() -> bool:
                offsets = await admin.list_consumer_group_offsets("monitor")
                return all(place in offsets and offsets[place].offset >= end for place, end in ends.items() if end)

            await eventually(all_committed, "the monitor has read everything", every=0.1, seconds=60)

    async def told(self, asked: Manifest) -> set[str]:
        """Documents of a request about which an alarm was raised and nothing has answered."""
        rows = await self.database.fetch(
            "SELECT document_id FROM document WHERE request_id = $1 AND told_at IS NOT NULL", asked.header.request_id
        )
        return {row["document_id"] for row in rows}

    async def answered(self, asked: Manifest) -> None:
        """Nothing is told of a request any more: a look measures first, and writes this after it."""

        async def none_told() -> bool:
            return not await self.told(asked)

        await eventually(none_told, "what was told is answered")

    async def rows(self) -> list[tuple[Any, ...]]:
        """All that the monitor knows."""
        found = []
        for table in ("document", "request", "daily_file"):
            found += [(table, *row) for row in await self.database.fetch(f"SELECT * FROM {table} ORDER BY 1, 2")]
        return found


@pytest_asyncio.fixture(loop_scope="session")
async def watch(stack: Stack, tmp_path: Path) -> AsyncIterator[Watch]:
    """The monitor of one test: its tables are empty, and what lay on the topics before is none of its business."""
    await create_topics(stack.kafka)
    database = await service_pool(stack, "monitor")
    try:
        pki = Pki(now=utc_now())
        (tmp_path / "service_root.pem").write_bytes(pki.service_root.certificate.public_bytes(Encoding.PEM))
        async with open_wire(stack, Hands(pki)) as wire:
            one = Watch(stack, wire, database, tmp_path / "daily", tmp_path)
            (tmp_path / LOG_KEY_FILE).write_text(f"{LOG_KEY.text}\n", encoding="utf-8")
            await begin_now(one)
            yield one
    finally:
        await database.close()


def checkpoint(size: int, root: bytes, at: datetime) -> str:
    """What the log would sign."""
    return notes.sign(
        notes.Checkpoint(LOG_KEY.name, size, root, at),
        LOG_KEY,
        lambda data: LOG_PRIVATE.sign(data, ec.ECDSA(hashes.SHA256())),
    )


async def begin_now(watch: Watch) -> None:
    """Empty the tables, put the group to where the topics end, and have the witness begin an empty log there."""
    ends = await ends_of(watch.stack, topics.POSTED, topics.LOG_CHECKPOINT)
    superuser = await asyncpg.connect(watch.stack.postgres_dsn("postgres"))
    try:
        await superuser.execute("TRUNCATE monitor.witness, monitor.countersigned, monitor.witness_beginning")
    finally:
        await superuser.close()
    await watch.database.execute(
        "INSERT INTO witness VALUES ($1, 0, '{}', $2, $3, $4)",
        LOG_KEY.name,
        checkpoint(0, tree_root([]), utc_now()),
        [ends[place] for place in POSTED],
        ends[TopicPartition(topics.LOG_CHECKPOINT.name, 0)],
    )
    for table in ("document", "request", "daily_file"):
        await watch.database.execute(f"DELETE FROM {table}")
    await reset(watch.stack, "monitor", await ends_of(watch.stack, *READ))
