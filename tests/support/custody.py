"""The signer's custody of keys on the real stack and a real token, as officers and administrators meet it."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, TypeVar
from uuid import UUID, uuid4

import asyncpg
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding

from libs.bus.bus import STATE_GROUP, Bus
from libs.contracts import topics
from libs.contracts.base import Event
from libs.contracts.enrolment import (
    AdministratorSignature,
    ApplicationRefused,
    CertificateRequested,
    KeyRequested,
    credential_id_of,
)
from libs.contracts.pin import (
    PinAnswered,
    PinChangeSubmitted,
    PinUnlock,
    PinUnlockOrdered,
    pin_unlock_signature_input,
)
from libs.contracts.signing import (
    AuthorisationFailed,
    AuthorisationSubmitted,
    MediumResolved,
    Rejected,
    Signed,
)
from libs.contracts.state import Certificate, User
from libs.contracts.state import Device as DeviceState
from libs.contracts.topics import Topic
from libs.crypto.credential import Argon2Parameters
from libs.crypto.sealing import PURPOSE_ENROLMENT_PIN, seal, sealing_info
from libs.crypto.secrets import encode_pin
from libs.gpki_client import SealingKey
from libs.gpki_client.device import Device
from libs.hsm.hsm import Hsm
from libs.runtime.clock import utc_now
from libs.storage import state
from services.hsm_signer import store
from services.hsm_signer.custody import Credential, Custody
from services.hsm_signer.sealing_keys import SealingKeys
from tests.support.applications import application, signed, with_pin
from tests.support.authorisations import OTP, submission_of
from tests.support.bus import Room
from tests.support.pki import Identity, Pki
from tests.support.requests import certificate_state, documents, header, medium_resolved, user_state
from tests.support.requests import key_id as key_id_of
from tests.support.tap import Tap

E = TypeVar("E", bound=Event)

CHEAP = Argon2Parameters(memory_kib=64, iterations=1)
"""For tests that try many PINs, and are not about the cost of one."""

Signer = Identity[Ed25519PrivateKey]


@dataclass
class Cabinet:
    """One signer that makes and keeps keys, in a schema of its own."""

    room: Room
    pki: Pki
    hsm: Hsm
    custody: Custody
    sealing_keys: SealingKeys
    registrar: Signer
    caller: Signer
    producer: Signer
    key_requested: Topic
    certificate: Topic
    submitted: Topic
    pin_change_submitted: Topic
    pin_unlock_ordered: Topic
    administrators: tuple[Signer, Signer]
    tap: Tap
    replica: Callable[[], Bus]
    bus: Bus | None = None
    users: dict[UUID, User] = field(default_factory=dict)
    phones: dict[UUID, Device] = field(default_factory=dict)

    async def start(self) -> None:
        """Have a replica run."""
        self.bus = await self.replica().__aenter__()

    async def stop(self) -> None:
        """Stop it, in order."""
        if self.bus is not None:
            await self.bus.__aexit__()
            self.bus = None

    async def public_key(self) -> tuple[str, X25519PublicKey]:
        """What a PIN is sealed to today."""
        row = await self.room.pool.fetchrow("select key_id, chain from sealing_key where retired_at is null")
        assert row is not None
        public = x509.load_der_x509_certificate(row["chain"][0]).public_key()
        assert isinstance(public, X25519PublicKey)
        return row["key_id"], public

    async def ask_for_key(self, pin: bytes, *, user: str | None = None, sealed: bytes | None = None) -> KeyRequested:
        """Have the signer make a key under what is sealed, whatever that is, or under this seal of another's."""
        (key_id, public), wanted = await self.public_key(), application(user, algorithm="p-256")
        credential_id = credential_id_of(wanted)
        info = sealing_info(PURPOSE_ENROLMENT_PIN, wanted.user, str(credential_id), key_id)
        sealed = sealed or seal(pin, public, info)
        event = KeyRequested(
            signed=signed(with_pin(wanted, sealed), self.registrar.key),
            credential_id=credential_id,
            sealing_key_id=key_id,
            sealed_pin=sealed,
        )
        await self.room.send(self.key_requested, [event])
        return event

    async def enrol(self, pin: str) -> UUID:
        """An officer with a key, a good certificate and GPKI Mobile; returns the credential."""
        asked = await self.ask_for_key(encode_pin(pin))
        await self.certificate_requested(asked)
        self.phones[asked.credential_id] = Device.new()
        self.users[asked.credential_id] = user_state(
            asked.signed.application.user, credential_id=asked.credential_id, channels=("gpki-mobile", "e-mail")
        )
        certificate = certificate_state(
            self.users[asked.credential_id],
            certificate=self.pki.officer(asked.signed.application.user).der,
            issuer=self.pki.issuing.certificate.public_bytes(Encoding.DER),
        )
        async with self.room.pool.acquire() as connection:
            await state.put_certificates(connection, [certificate])
        await self.register(asked.credential_id, self.phones[asked.credential_id])
        return asked.credential_id

    async def register(self, credential_id: UUID, phone: Device | None) -> None:
        """The officer's GPKI Mobile is this one from now on, or none."""
        known = None
        if phone is not None:
            known = DeviceState(
                device_id=phone.device_id,
                sealing_key=bytes.fromhex(phone.sealing_key),
                signing_key=bytes.fromhex(phone.signing_key),
                registered_at=utc_now(),
            )
        user = self.users[credential_id]
        self.users[credential_id] = user.model_copy(update={"device": known, "version": user.version + 1})
        async with self.room.pool.acquire() as connection:
            await state.put_users(connection, [self.users[credential_id]])

    async def pin_change(
        self, credential_id: UUID, *, old: str, new: str, phone: Device | None = None
    ) -> PinChangeSubmitted:
        """A wish for another PIN as the SDK makes it, with the officer's phone or another."""
        value = (phone or self.phones[credential_id]).pin_change(
            SealingKey(*(await self.public_key())),
            old=old,
            new=new,
            change=uuid4(),
            user=self.users[credential_id].user,
            credential_id=credential_id,
        )
        return PinChangeSubmitted.model_validate(value)

    async def change_pin(self, credential_id: UUID, *, old: str, new: str) -> PinAnswered:
        """Have the PIN changed; what became of it."""
        event = await self.pin_change(credential_id, old=old, new=new)
        await self.room.send(self.pin_change_submitted, [event])
        return await self.pin_answered(event.change.change)

    async def pin_answered(self, identifier: UUID) -> PinAnswered:
        """The answer to a change or an unlock."""
        return await self.told(topics.PIN_ANSWERED, PinAnswered, lambda answer: answer.answers == identifier)

    def unlock(self, credential_id: UUID, *signers: Signer, ordered_at: datetime | None = None) -> PinUnlockOrdered:
        """An order as these administrators sign it."""
        order = PinUnlock(unlock=uuid4(), credential_id=credential_id, ordered_at=ordered_at or utc_now())
        return PinUnlockOrdered.model_validate(
            {
                "order": order,
                "signatures": [
                    AdministratorSignature(
                        key_id=key_id_of(one), signature=one.key.sign(pin_unlock_signature_input(order))
                    )
                    for one in signers or self.administrators
                ],
            }
        )

    async def dead_letter(self, topic: Topic) -> str:
        """Why the newest record of a topic was put aside; wait for one."""
        letters = await self.tap.until(lambda: self.tap.of(topic.dead_letter), "a dead letter")
        return next(bytes(value).decode() for name, value in letters[-1].headers if name == "x-dead-letter-reason")

    async def certificate_requested(self, asked: KeyRequested) -> CertificateRequested:
        """The key was made."""
        wanted = asked.credential_id
        return await self.told(topics.CERTIFICATE_REQUESTED, CertificateRequested, lambda e: e.credential_id == wanted)

    async def refused(self, asked: KeyRequested) -> ApplicationRefused:
        """Why there is no key."""
        wanted = asked.signed.application.application
        return await self.told(topics.APPLICATION_REFUSED, ApplicationRefused, lambda e: e.application == wanted)

    async def told(self, topic: Topic, kind: type[E], which: Callable[[E], bool]) -> E:
        """The event of this topic that is meant; wait for it."""
        found: list[E] = await self.tap.until(lambda: list(filter(which, self.tap.events(topic, kind))), topic.name)
        return found[0]

    async def kept(self, credential_id: UUID) -> Credential:
        """The credential as it lies in the database."""
        async with self.room.pool.acquire() as connection, connection.transaction():
            kept = await store.lock_credential(connection, credential_id)
        assert kept is not None
        assert kept.credential is not None
        return kept.credential

    async def certify(self, credential_id: UUID, *, status: str, version: int = 2, **values: Any) -> Certificate:
        """Have the signer hear of the certificate's status, and return when it has judged that."""
        known = await self.certificate_of(credential_id)
        state_now = known.model_copy(update={"status": status, "version": version, "lifting": None, **values})
        await self.room.send(self.certificate, [state_now])
        await self.handled(self.certificate, STATE_GROUP)
        return state_now

    async def handled(self, topic: Topic, lane: str = "") -> None:
        """Wait until the signer has handled all that is on a topic of its own, and read what it told of it."""
        await self.tap.read()  # which counts it: what was answered last may not be committed yet
        await self.room.all_committed(topic, len(self.tap.of(topic)), lane and f"{self.room.schema}.{lane}")
        await self.tap.read()

    async def certificate_of(self, credential_id: UUID) -> Certificate:
        """The state of the officer's certificate as the signer keeps it."""
        async with self.room.pool.acquire() as connection:
            return (await state.certificates(connection, [credential_id]))[credential_id]

    async def found(self, needle: bytes) -> list[str]:
        """Tables of the signer of which a row holds these bytes."""
        query = "select table_name from information_schema.tables where table_schema = $1"
        tables = await self.room.pool.fetch(query, self.room.schema)
        return [
            table
            for (table,) in tables
            if await self.room.count(f'select count(*) from "{table}" t where t::text like $1', f"%{needle.hex()}%")
        ]

    async def row(self, credential_id: UUID) -> asyncpg.Record:
        """The credential's row."""
        (row,) = await self.room.pool.fetch("select * from credential where credential_id = $1", credential_id)
        return row

    def protect(self, **values: Any) -> None:
        """Go on as a release, or with settings, that protects otherwise."""
        self.custody._current = replace(self.custody._current, **values)

    async def authorise(self, credential_id: UUID, *, pin: str, otp: str = OTP, times: int = 1) -> str:
        """A new request of this officer; `signed`, or why not. More times: side by side, in one batch."""
        request = await self.request(credential_id)
        await self.room.send(self.submitted, [await self.submission(request, pin=pin, otp=otp) for _ in range(times)])
        return await self.outcome(request)

    async def request(self, credential_id: UUID) -> MediumResolved:
        """A request of one document."""
        event = medium_resolved(header(self.users[credential_id].user), documents(1), self.caller)
        return event.model_copy(update={"credential_id": credential_id})

    async def submission(self, request: MediumResolved, *, pin: str, otp: str = OTP) -> AuthorisationSubmitted:
        """What the gateway hands on: a challenge of otp_dispatch, and PIN and OTP sealed to the signer."""
        return submission_of(request, pin=pin, otp=otp, producer=self.producer, key=await self.public_key())

    async def refusal(self, credential_id: UUID, *, pin: str) -> str:
        """Why a new request of this officer is rejected whole."""
        request = await self.request(credential_id)
        await self.room.send(self.submitted, [await self.submission(request, pin=pin)])
        found = await self.told(topics.REJECTED, Rejected, lambda event: event.request_id == request.request_id)
        return str(found.reason)

    async def outcome(self, request: MediumResolved) -> str:
        """`signed`, or the reason of the attempt that failed."""
        return str(await self.tap.until(lambda: self.answered(request), "signed or failed"))

    def answered(self, request: MediumResolved) -> str | None:
        """The first of these that is told so far."""
        failed = self.tap.of(topics.AUTHORISATION_FAILED, request.request_id)
        reasons = (str(AuthorisationFailed.model_validate_json(one.value or b"").reason) for one in failed)
        return "signed" if self.signed_of(request.request_id) else next(reasons, None)

    def signed_of(self, request_id: UUID) -> list[Signed]:
        """What is told so far of a request."""
        return [one for one in self.tap.events(topics.SIGNED, Signed) if one.request_id == request_id]
