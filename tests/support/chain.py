"""iGFMAS and its officers against a full stack: the reference client, and what a test wants to know beside it."""

import asyncio
import itertools
import secrets
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Literal
from uuid import UUID, uuid4

import asyncpg
import pytest_asyncio
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey

from deploy.native import broker
from deploy.native.parts import client_environment
from libs.contracts.manifest import Action, Manifest, SignedManifest
from libs.contracts.problems import ProblemCode
from libs.contracts.signing import (
    AuthorisationFailed,
    AuthorisationSubmitted,
    Completed,
    OtpDispatched,
    SealedChallenge,
)
from libs.contracts.topics import Topic
from libs.gpki_client import Caller, GpkiClient, GpkiUnavailable, Problem, SealingKey
from libs.runtime.clock import utc_now
from services.gateway.app import DEFAULT_ROUTES
from services.igfmas.chain import DOCUMENTS, Chain
from services.igfmas.desk import Desk, Pressed
from services.igfmas.documents import Paper, manifest_of, paper_of, request_of
from services.igfmas.enrolment import Officer, Registrars
from services.igfmas.keys import CALLER, read_keys
from services.igfmas.mailbox import Mailbox
from services.igfmas.observation import Observation, RequestSeen
from services.igfmas.settings import OBSERVER
from services.igfmas.trust import Trust
from services.igfmas.vouchers import Voucher
from tests.support.producers import send_as_service
from tests.support.stack import Stack

MAIL_SECONDS = 30.0

PIN_PREFIX = "Kn4ri-"
"""Every PIN that a test types begins so, and nothing else does: a search for it finds whatever leaked."""

_officers = itertools.count(1)


@dataclass(frozen=True)
class Request:
    """One request that was published, with the steps that its officer can take."""

    client: "Client"
    officer: Officer
    papers: tuple[Paper, ...]
    manifest: Manifest
    pressed: Pressed

    @property
    def id(self) -> UUID:
        return self.pressed.request_id

    @property
    def seen(self) -> RequestSeen:
        """What was seen of it on Kafka."""
        return self.pressed.seen

    @property
    def signed(self) -> SignedManifest:
        """The manifest with the caller's signature, as every event of the request carries it."""
        return signed_manifest(self.client.caller, self.manifest)

    async def dispatched(self) -> OtpDispatched:
        """The first code's event."""
        await self.until(lambda: bool(self.seen.dispatched), "the OTP")
        return self.seen.dispatched[1][1]

    async def otp(self, *, message: str | None = None) -> str:
        """The code in the officer's mailbox whose reference the gateway shows, or of it the one in this message."""
        dispatch = await self.client.desk.dispatch(self.pressed)
        assert dispatch is not None, f"ended before a code was sent: {self.seen.rejections}"
        code = await self.client.mailbox.otp(
            self.officer.email, dispatch.reference_code, seconds=MAIL_SECONDS, message=message
        )
        self.client.otps.add(code)
        return code

    async def authorise(self, *, otp: str, pin: str | None = None) -> str:
        """Hand PIN and OTP to the gateway; returns the attempt."""
        return await self.client.desk.authorise(self.pressed, pin=pin or self.officer.pin, otp=otp)

    async def insist(self, *, otp: str) -> None:
        """Hand them in until that is answered. What was not answered may have been taken: then it is too late."""
        unanswered = False
        while True:
            try:
                await self.authorise(otp=otp)
            except GpkiUnavailable:
                unanswered = True  # the officer presses again
            except Problem as error:
                # The press that got no answer had been taken: the gateway that came back published it.
                if not (unanswered and error.code == ProblemCode.AUTHORISATION_TOO_LATE):
                    raise
                return
            else:
                return

    async def submission(
        self,
        *,
        otp: str = "000000",
        pin: str | None = None,
        sealed: bytes | None = None,
        key_id: str | None = None,
        challenges: Sequence[SealedChallenge] | None = None,
        signed: SignedManifest | None = None,
    ) -> AuthorisationSubmitted:
        """What the gateway would publish, or somebody else who can write to the broker."""
        key = await self.client.sealing_key()
        dispatched = await self.dispatched()
        own = SealedChallenge(sealing_key_id=dispatched.sealing_key_id, sealed=dispatched.challenge)
        return AuthorisationSubmitted(
            request_id=self.id,
            signed=signed or self.signed,
            challenges=tuple(challenges or [own]),
            sealing_key_id=key_id or key.key_id,
            sealed=sealed
            or key.seal_authorisation(pin=pin or self.officer.pin, otp=otp, request_id=self.id, root=self.pressed.root),
        )

    async def submit(self, **parts: Any) -> str:
        """Publish a submission past the gateway; returns the attempt."""
        event = await self.submission(**parts)
        await send_as_service(self.client.stack, DEFAULT_ROUTES.lane(len(self.papers)), event)
        return event.attempt

    async def failure(self, attempt: str) -> AuthorisationFailed:
        """Why this attempt did not authorise."""
        failures = self.seen.failures
        await self.client.chain.wait(lambda: attempt in failures, f"the failure of {attempt[:8]}", seconds=60)
        return failures[attempt]

    async def end(self) -> Completed:
        """The end of the request, and `verified` and `posted` of every document that it lists as posted."""
        await self.client.desk.end(self.pressed)
        assert self.seen.ended is not None
        return self.seen.ended

    async def sign(self) -> Completed:
        """Everything that a careful officer does after pressing the button."""
        await self.authorise(otp=await self.otp())
        return await self.end()

    async def until(self, condition: Callable[[], bool], what: str) -> None:
        await self.client.desk.until(self.pressed, condition, what)


@dataclass
class Client:
    """One iGFMAS for the whole session. `otps` are all the codes that were ever mailed to its officers."""

    stack: Stack
    chain: Chain
    gateway: GpkiClient
    desk: Desk
    mailbox: Mailbox
    trust: Trust
    caller: Caller
    registrars: Registrars
    database: "asyncpg.Pool[asyncpg.Record]"
    otps: set[str] = field(default_factory=set)

    def new_officer(self, *, algorithm: Literal["rsa-2048", "p-256"] = "rsa-2048") -> Officer:
        """Someone whom the platform does not know yet."""
        number = next(_officers)
        user = f"{secrets.randbelow(10**12):012d}"  # the stack may be older than this session
        return Officer(
            application=uuid4(),
            user=user,
            name=f"Pegawai {number}",
            role="pegawai",
            email=f"pegawai.{user}@anm.example",
            office="AG-KL-01",
            algorithm=algorithm,
            pin=f"{PIN_PREFIX}{secrets.token_hex(6)}",
        )

    async def enrol(self, *, algorithm: Literal["rsa-2048", "p-256"] = "rsa-2048") -> Officer:
        """An officer with a certificate."""
        officer = self.new_officer(algorithm=algorithm)
        await self.desk.enrol(officer)
        return officer

    async def press(
        self, officer: Officer, papers: Sequence[Paper], action: Action = "sah", *, request: str | None = None
    ) -> Request:
        """Publish a request."""
        name = request or uuid4().hex
        entries = tuple(paper.entry for paper in papers)
        manifest = manifest_of(entries, request=name, user=officer.user, office=officer.office, action=action)
        pressed = await self.desk.press(action, officer, papers, request=name)
        return Request(self, officer, tuple(papers), manifest, pressed)

    async def sealing_key(self) -> SealingKey:
        """The signer's key of the day, judged as the client judges it."""
        return await self.gateway.sealing_key("600101000000")

    def sealing_public_key(self, key_id: str) -> X25519PublicKey:
        """A sealing key by its id, as it stands on `gpki.keys.v1`."""
        found = x509.load_der_x509_certificate(self.chain.keys[key_id].chain[0]).public_key()
        assert isinstance(found, X25519PublicKey)
        return found

    async def value(self, query: str, *arguments: Any) -> Any:
        """One value, read as the superuser."""
        return await self.database.fetchval(query, *arguments)


def papers(count: int, *, amount: str = "1250.00") -> tuple[Paper, ...]:
    """So many vouchers that nobody signed before."""
    prefix = f"T{uuid4().hex[:10]}"
    return tuple(
        paper_of(
            Voucher(
                voucher=f"{number:05d}",
                kind="bekalan",
                title=f"Bekalan {number}",
                payee=f"Syarikat {number} Sdn. Bhd.",
                amount=amount,
                currency="MYR",
                office="AG-KL-01",
            ),
            prefix,
        )
        for number in range(count)
    )


def signed_manifest(caller: Caller, manifest: Manifest) -> SignedManifest:
    """A manifest as this caller signs it."""
    requested = request_of(manifest, caller)
    return SignedManifest(manifest=manifest, caller_key=requested.caller_key, signature=requested.signature)


def wrong(otp: str) -> str:
    """Another code, the same one for the same code."""
    return f"{(int(otp) + 1) % 1_000_000:06d}"


@asynccontextmanager
async def connected(stack: Stack, documents: Sequence[Topic] = DOCUMENTS) -> AsyncIterator[Client]:
    """An iGFMAS of a stack that runs with its services; it follows these topics of documents."""
    environment = client_environment(stack.layout)
    caller, registrars = read_keys(stack.layout.secrets("igfmas"))
    kafka, observer = (broker.access(stack.layout, principal) for principal in (CALLER, OBSERVER))
    async with AsyncExitStack() as resources:
        chain = await resources.enter_async_context(Chain(kafka, observer, Observation(), utc_now, documents))
        gateway = await resources.enter_async_context(stack.gpki(caller))
        database = await asyncpg.create_pool(stack.postgres_dsn("postgres"), min_size=1, max_size=4)
        resources.push_async_callback(database.close)
        desk = Desk(chain, gateway, caller=caller, registrars=registrars, clock=utc_now)
        await desk.await_keys()
        yield Client(
            stack=stack,
            chain=chain,
            gateway=gateway,
            desk=desk,
            mailbox=Mailbox(stack.layout.mail),
            trust=Trust(stack.layout.pki, environment["GPKI_CRL_BASE_URL"]),
            caller=caller,
            registrars=registrars,
            database=database,
        )


@pytest_asyncio.fixture(scope="package", loop_scope="session")
async def client(full_stack: Stack) -> AsyncIterator[Client]:
    """The folder's iGFMAS."""
    async with connected(full_stack) as own:
        yield own


@dataclass(frozen=True)
class Officers:
    """Two who may sign for one another; their PINs are never mistyped."""

    maker: Officer
    checker: Officer


@pytest_asyncio.fixture(scope="package", loop_scope="session")
async def officers(client: Client) -> Officers:
    """Enrolled once, because making keys takes time."""
    maker, checker = await asyncio.gather(client.enrol(), client.enrol())
    return Officers(maker, checker)
