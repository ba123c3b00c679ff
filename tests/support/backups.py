"""Databases that are put back by PostgreSQL's own tools, and backups of custody with the orders to restore them."""

import asyncio
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

from libs.bus.reader import Raw
from libs.bus.signing import EventSigner
from libs.contracts import custody, topics
from libs.contracts.custody import RestoreOrder, SignedRestoreOrder, restore_signature_input
from libs.contracts.enrolment import AdministratorSignature
from libs.contracts.signing import AuthorisationFailed, AuthorisationSubmitted, MediumResolved
from libs.contracts.topics import Topic
from libs.crypto.requests import new_signing_key
from libs.crypto.service_certificates import ServiceIdentity
from libs.runtime.clock import utc_now
from services.hsm_signer.backup import backed_up
from services.hsm_signer.backup_file import digest
from services.hsm_signer.history import History
from services.hsm_signer.restore import restore
from services.hsm_signer.restoring import Restored
from tests.support.custody import Cabinet, Signer
from tests.support.requests import key_id

REPLAYED = (topics.MEDIUM_RESOLVED, topics.PROGRESSED, topics.COMPLETED, topics.KEYS)
"""What a restore reads, beside what a cabinet has told."""

_WAITING = """
SELECT count(*) FROM pg_locks JOIN pg_class ON pg_class.oid = relation
WHERE NOT granted AND relnamespace = $1::regnamespace
"""


@dataclass
class Archive:
    """One cabinet's database and backups, and two security officers."""

    cabinet: Cabinet
    folder: Path
    officers: tuple[Signer, Signer]

    async def dump(self) -> Path:
        """The whole schema, as pg_dump has it."""
        file = self.folder / f"{uuid4().hex}.sql"
        await self._run("pg_dump", "--schema", self.cabinet.room.schema, "--file", str(file))
        return file

    async def put_back(self, dump: Path) -> None:
        """The schema is what it was, at once.

        Of a deadlock with what a running signer is at, PostgreSQL ends the signer's transaction, which comes again.
        """
        patient = "set local deadlock_timeout = '1min'"  # we look for a deadlock last, so that the other is ended
        drop = f"drop schema {self.cabinet.room.schema} cascade"
        quiet = ("--quiet", "--set", "ON_ERROR_STOP=1", "--single-transaction", "--output", os.devnull)
        await self._run("psql", *quiet, *("--command", patient), *("--command", drop), "--file", str(dump))

    async def waits_for_a_lock(self) -> bool:
        """Whether something waits for one of its tables."""
        return bool(await self.cabinet.room.pool.fetchval(_WAITING, self.cabinet.room.schema))

    def history(self) -> History:
        """The signer's look, as a process that begins takes it. All that is ours here is genuine."""

        async def genuine(_topic: Topic, _raw: Raw) -> bool:
            return True

        return History(
            self.cabinet.room.pool,
            self.cabinet.room.stack.kafka,
            genuine,
            service=self.cabinet.room.schema,
            ours=custody.SAID,
            certificate=self.cabinet.certificate,
        )

    async def look(self) -> None:
        """Once, as a process that begins. Raises WentBack."""
        history = self.history()
        async with history._reader() as consumer:
            await history.look(consumer)

    async def backup(self) -> bytes:
        """The file of a database that is known to be current."""
        await self.look()
        return await backed_up(self.cabinet.room.pool, self.cabinet.hsm)

    def order(self, file: bytes, *signers: Signer, **values: Any) -> SignedRestoreOrder:
        """An order to restore this file, of these people."""
        order = RestoreOrder(**{"order": uuid4(), "backup_sha256": digest(file), "ordered_at": utc_now(), **values})
        content = restore_signature_input(order)
        return SignedRestoreOrder(
            order=order,
            signatures=tuple(
                AdministratorSignature(key_id=key_id(one), signature=one.key.sign(content)) for one in signers
            ),
        )

    async def restore(
        self, file: bytes, signed: SignedRestoreOrder, *, officers: tuple[ServiceIdentity, ...]
    ) -> Restored:
        """Follow it; whoever these are counts as a security officer. Raises NotRestored."""
        return await restore(
            self.cabinet.room.pool,
            self.cabinet.hsm,
            self.cabinet.room.stack.kafka,
            file=file,
            signed=signed,
            officers=officers,
            now=utc_now(),
            judge=lambda *_: None,
            sign=EventSigner(new_signing_key(), known=lambda _: True),
            service=self.cabinet.room.schema,
            state=(self.cabinet.certificate,),
        )

    async def begun(self, officer: Any, *, pin: str, otp: str | None = None) -> tuple[MediumResolved, Any]:
        """A request that medium_lookup has told of, and an officer's answer to its code."""
        request = await self.cabinet.request(officer)
        await self.cabinet.room.send(topics.MEDIUM_RESOLVED, [request])
        more = {} if otp is None else {"otp": otp}
        return request, await self.cabinet.submission(request, pin=pin, **more)

    async def authorise(self, officer: Any, *, pin: str) -> tuple[str, AuthorisationSubmitted]:
        """One such request to its end: `signed` or why not."""
        request, submission = await self.begun(officer, pin=pin)
        await self.cabinet.room.send(self.cabinet.submitted, [submission])
        ended = "select end_reason from request where request_id = $1 and ended_at is not null"
        told = "select value from recorded where topic = $1 and key = $2"

        async def answer() -> str | None:
            pool = self.cabinet.room.pool
            answered = self.cabinet.answered(request)
            if answered is not None:
                return answered
            # Recorded with the end, and maybe not read yet: why the attempt failed, not the end's reason.
            why = await pool.fetchval(ended, request.request_id)
            failed = await pool.fetchval(told, topics.AUTHORISATION_FAILED.name, str(request.request_id).encode())
            return why if failed is None else str(AuthorisationFailed.model_validate_json(failed).reason)

        return str(await self.cabinet.tap.until(answer, "signed, failed or rejected")), submission

    async def _run(self, *command: str) -> None:
        place = urlsplit(self.cabinet.room.stack.postgres_dsn("postgres"))
        environment = {
            **os.environ,
            "PGHOST": str(place.hostname),
            "PGPORT": str(place.port),
            "PGUSER": str(place.username),
            "PGPASSWORD": str(place.password),
            "PGDATABASE": place.path.lstrip("/"),
        }
        process = await asyncio.create_subprocess_exec(*command, env=environment, stderr=asyncio.subprocess.PIPE)
        _, said = await process.communicate()
        assert process.returncode == 0, said.decode()
