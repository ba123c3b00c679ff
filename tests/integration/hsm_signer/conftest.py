"""The signer's authorisations on the real stack and a real token, on topics and a schema of a test's own."""

import secrets
from collections.abc import AsyncIterator, Collection
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, TypeVar
from uuid import UUID

import pytest
import pytest_asyncio
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from libs.bus.topics import create_topics
from libs.bus.unread import unread
from libs.contracts import topics
from libs.contracts.base import Event
from libs.contracts.cancelling import CancelAnswered, CancelRequested
from libs.contracts.not_me import NotMe
from libs.contracts.signing import (
    AuthorisationFailed,
    AuthorisationSubmitted,
    MediumResolved,
    Rejected,
    SealedChallenge,
)
from libs.contracts.state import User
from libs.contracts.topics import Topic
from libs.contracts.waiting import Waiting
from libs.crypto.pki import build_sealing_authority, distinguished_name
from libs.hsm.hsm import Hsm
from libs.runtime.clock import utc_now
from libs.runtime.executor import Offload
from libs.storage import state
from libs.storage.migrations import migrate
from services.hsm_signer import handlers, store
from services.hsm_signer.app import MIGRATIONS
from services.hsm_signer.authorise import Authoriser
from services.hsm_signer.challenge_producers import ChallengeProducers
from services.hsm_signer.custody import Credential, Custody, Protection
from services.hsm_signer.lanes import Lane
from services.hsm_signer.not_me import not_me
from services.hsm_signer.refusal import CANCELLING
from services.hsm_signer.sealing_keys import AUTHORITY_KEY, SealingKeys
from services.hsm_signer.signing import Signing
from tests.integration.hsm.conftest import hsm, soft_hsm
from tests.support.bus import Room, open_room
from tests.support.pki import Pki
from tests.support.requests import Caller, certificate_state, documents, header, key_state, medium_resolved
from tests.support.stack import Stack
from tests.support.tap import Tap
from tests.support.waiting import eventually

__all__ = ["hsm", "soft_hsm"]

LIFETIME, KEPT = timedelta(hours=24), timedelta(hours=48)


E = TypeVar("E", bound=Event)


@dataclass
class Signer:
    """One replica that runs, and what it is told. Nobody's sealed blob opens: no sealing key was published."""

    room: Room
    pki: Pki
    caller: Caller
    hsm: Hsm
    authority: tuple[bytes, ...]
    submitted: Topic
    resolved: Topic
    cancel_requested: Topic
    not_me: Topic
    tap: Tap

    def sealing_keys(self) -> SealingKeys:
        """Those of another replica."""
        return SealingKeys(self.hsm, self.room.pool, self.authority, lifetime=LIFETIME, kept=KEPT)

    def request(self, user: User, *, caller: Caller | None = None) -> MediumResolved:
        """A new request of this officer."""
        event = medium_resolved(header(user.user), documents(1), caller or self.caller)
        return event.model_copy(update={"credential_id": user.credential_id})

    async def submit(self, request: MediumResolved) -> AuthorisationSubmitted:
        """A new attempt of the officer, as the gateway hands it on."""
        event = AuthorisationSubmitted(
            request_id=request.request_id,
            signed=request.signed,
            challenges=(SealedChallenge(sealing_key_id="00" * 32, sealed=b"challenge"),),
            sealing_key_id="00" * 32,
            sealed=secrets.token_bytes(300),
        )
        await self.room.send(self.submitted, [event])
        return event

    async def resolve(self, request: MediumResolved) -> None:
        """Hand on what medium_lookup says, and wait until the signer has handled it."""
        before = sum((await self.room.committed(self.resolved)).values())
        await self.room.send(self.resolved, [request])
        await self.room.all_committed(self.resolved, before + 1)

    async def cancel(self, *events: CancelRequested) -> None:
        """Hand on cancels, and wait until the signer has handled them."""
        before = sum((await self.room.committed(self.cancel_requested)).values())
        await self.room.send(self.cancel_requested, events)
        await self.room.all_committed(self.cancel_requested, before + len(events))
        await self.tap.read()

    async def deny(self, *events: NotMe) -> None:
        """Hand on what devices say, and wait until the signer has handled it."""
        before = sum((await self.room.committed(self.not_me)).values())
        await self.room.send(self.not_me, events)
        await self.room.all_committed(self.not_me, before + len(events))
        await self.tap.read()

    def answers(self, request: MediumResolved) -> list[CancelAnswered]:
        """What was answered to cancels of a request, repeats included."""
        return self._events(topics.CANCEL_ANSWERED, CancelAnswered, request.request_id)

    def rejections(self, request: MediumResolved) -> list[Rejected]:
        """What was rejected of a request so far, repeats included."""
        return self._events(topics.REJECTED, Rejected, request.request_id)

    def waiting(self, request: MediumResolved) -> list[Waiting]:
        """What was said that a request waits for."""
        return self._events(topics.WAITING, Waiting, request.request_id)

    async def know(self, user: User, *, certificate: dict[str, Any] | None = None, credential: bool = True) -> None:
        """The officer, with a key whose PIN nobody knows, and a certificate unless it is None."""
        assert user.credential_id is not None
        async with self.room.pool.acquire() as connection:
            await state.put_users(connection, [user])
            if certificate is not None:
                await state.put_certificates(connection, [certificate_state(user, **certificate)])
            if credential:
                kept = Credential(user.credential_id, user.user, "p-256", b"salt", Protection(), b"wrapped")
                await store.add_credential(connection, kept)

    async def know_caller(self, caller: Caller) -> None:
        """What `gpki.keys.v1` says of a caller."""
        async with self.room.pool.acquire() as connection:
            await state.put_keys(connection, [key_state(caller, "caller", "igfmas", self.pki)])

    async def parked(self, why: str) -> None:
        """Wait until one record waits for this reason."""
        query = "select count(*) from due where why like $1 and partition is not null"

        async def waits() -> bool:
            return await self.room.count(query, f"%{why}%") == 1

        await eventually(waits, f"parked: {why}")

    async def look_again(self) -> None:
        """Have what is parked waited long enough."""
        await self.room.pool.execute("update due set at = now() where partition is not null")

    async def rejected(self, request: MediumResolved) -> Rejected:
        """The end of a request; there is one."""
        (found,) = await self._told(topics.REJECTED, Rejected, request.request_id)
        assert isinstance(found, Rejected)
        return found

    async def failed(self, attempt: AuthorisationSubmitted) -> AuthorisationFailed:
        """Why this attempt did not authorise."""
        told = await self._told(topics.AUTHORISATION_FAILED, AuthorisationFailed, attempt.request_id, attempt.attempt)
        return AuthorisationFailed.model_validate(told[0])

    async def end_reason(self, request: MediumResolved) -> object:
        """Why the request has ended in the signer's own tables."""
        return await self.room.pool.fetchval(
            "select end_reason from request where request_id = $1 and ended_at is not null", request.request_id
        )

    def dead_letters(self, topic: Topic | None = None) -> list[str]:
        """The reasons of what was put aside."""
        records = self.tap.of((topic or self.submitted).dead_letter)
        return [bytes(value).decode() for r in records for name, value in r.headers if name == "x-dead-letter-reason"]

    def _events(self, topic: Topic, kind: type[E], request_id: UUID) -> list[E]:
        return [kind.model_validate_json(record.value or b"") for record in self.tap.of(topic, request_id)]

    async def _told(self, topic: Topic, kind: Any, request_id: UUID, attempt: str | None = None) -> list[Any]:
        def read() -> list[Any]:
            ours = self._events(topic, kind, request_id)
            return [event for event in ours if attempt is None or event.attempt == attempt]

        await self.tap.until(read, f"{topic.name} of {request_id}")
        return read()


@pytest.fixture(scope="session")
def pki() -> Pki:
    return Pki(now=utc_now())


@pytest_asyncio.fixture(loop_scope="session")
async def signer(stack: Stack, hsm: Hsm, pki: Pki) -> AsyncIterator[Signer]:
    """One replica that knows one caller, and no officer."""
    submitted = stack.own(topics.AUTHORISATION_SUBMITTED)
    resolved = stack.own(topics.MEDIUM_RESOLVED)
    cancelled = stack.own(topics.CANCEL_REQUESTED)
    denied = stack.own(topics.NOT_ME)
    told = (topics.REJECTED, topics.AUTHORISATION_FAILED, topics.CANCEL_ANSWERED, topics.WAITING)
    await create_topics(stack.kafka, topics=[submitted, resolved, cancelled, denied, *told])
    service_root = pki.service_root.certificate.public_bytes(Encoding.DER)
    authority = await sealing_authority(hsm, pki)
    async with open_room(stack) as room:
        room.owns(submitted, resolved, cancelled, denied)
        await migrate(room.pool, [MIGRATIONS])
        tap = await room.tap(submitted, cancelled, denied, *told)
        made = Signer(room, pki, pki.caller(), hsm, authority, submitted, resolved, cancelled, denied, tap)
        await made.know_caller(made.caller)
        with closing(Offload(workers=1, backlog=8, name="argon2")) as offload:
            custody, lane = Custody(hsm, offload), Lane(utc_now)
            producers = ChallengeProducers(room.pool, service_root, utc_now)
            authoriser = Authoriser(custody, made.sealing_keys(), producers, service_root, utc_now)
            signing = Signing(custody, utc_now, lane)
            bus = room.bus()
            bus.consume({resolved: handlers.medium_resolved, cancelled: CANCELLING.requested, denied: not_me})
            handler = handlers.authorisations(authoriser, signing, offload, lane, bulk=False)
            bus.consume({submitted: handler}, lane="interactive")

            async def unread_submissions(requests: Collection[UUID], before: datetime) -> set[UUID]:
                keys = [str(request).encode() for request in requests]
                found = await unread(stack.kafka, f"{room.schema}.interactive", submitted, keys, before)
                return {UUID(key.decode()) for key in found}

            bus.timer(handlers.EXPIRY, handlers.expiry(utc_now, unread_submissions))
            async with bus:
                yield made


async def sealing_authority(hsm: Hsm, pki: Pki) -> tuple[bytes, ...]:
    await hsm.ensure_p256_key(AUTHORITY_KEY)
    public = await hsm.with_private_key(AUTHORITY_KEY, lambda key: key.public_key())
    assert isinstance(public, ec.EllipticCurvePublicKey)
    certificate = build_sealing_authority(
        pki.service_root,
        public,
        name=distinguished_name("GPKI Sealing Authority"),
        serial=pki.serial(),
        validity=pki.validity(),
    )
    return (certificate.public_bytes(Encoding.DER),)
