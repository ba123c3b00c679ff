"""otp_dispatch on the real stack, with topics, schema, keys and relay of its own."""

import re
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding
from pydantic import SecretBytes, SecretStr

from deploy.native.ports import reserve
from deploy.native.secret_files import ensure_secret
from libs.bus.signing import PRODUCER_KEY
from libs.bus.topics import create_topics
from libs.contracts import topics
from libs.contracts.resending import ResendAnswered, ResendRequested
from libs.contracts.signing import MediumResolved, OtpDispatched, Rejected
from libs.contracts.state import User
from libs.contracts.topics import Topic
from libs.contracts.waiting import Waiting
from libs.crypto.challenge import Challenge, open_challenge
from libs.crypto.public_keys import public_key_id
from libs.crypto.requests import read_signing_key
from libs.crypto.sealing import PURPOSE_CHALLENGE, sealing_info
from libs.runtime.clock import utc_now
from libs.runtime.health import Health
from libs.runtime.secret_files import write_secret
from libs.storage import state
from services.otp_dispatch import under_way
from services.otp_dispatch.app import serve
from services.otp_dispatch.init import make_keys
from services.otp_dispatch.routes import DEFAULT_ROUTES, Routes
from services.otp_dispatch.store import MIGRATIONS
from tests.integration.otp_dispatch.replica import RoomSettings, routes
from tests.integration.otp_dispatch.sink import HOST, Sink
from tests.support.bus import ROLE, Room, open_room, waits_for
from tests.support.devices import resend_of
from tests.support.pki import Identity, Pki
from tests.support.producers import Hands
from tests.support.requests import Caller, documents, header, key_state, medium_resolved, new_user, user_state
from tests.support.service import kafka_settings
from tests.support.stack import Stack
from tests.support.tap import Tap
from tests.support.waiting import eventually

CODE = re.compile(r"^([0-9]{6}) ialah OTP anda\. Rujukan ([0-9A-Z]{3})\.", re.MULTILINE)

SECONDS = 90
"""Until something is done on a machine that does other things too; a process may have to start first."""


@dataclass
class Dispatching:
    """What surrounds otp_dispatch in a test; nothing runs before `replica()` is entered."""

    room: Room
    pki: Pki
    caller: Caller
    sealing: Identity[X25519PrivateKey]
    routes: Routes
    sink: Sink
    tap: Tap
    settings: RoomSettings
    secrets: Path
    health: Health

    def replica(self, **changes: Any) -> AbstractAsyncContextManager[None]:
        """A replica in this process."""
        return serve(self.settings.model_copy(update=changes), self.health, self.routes)

    async def publish_keys(self, *, sealing: bool = True) -> None:
        """The caller's key and, unless told otherwise, the signer's sealing key."""
        keys = [key_state(self.caller, "caller", "igfmas", self.pki)]
        if sealing:
            keys.append(key_state(self.sealing, "sealing", "sealing key", self.pki))
        await self.room.send(self.routes.keys, keys)

    async def user(self, **values: Any) -> User:
        """An officer whom otp_dispatch knows."""
        user = user_state(new_user(), **values)
        await self.room.send(self.routes.user, [user])

        async def known() -> bool:
            async with self.room.pool.acquire() as connection:
                return await state.user(connection, user.user) is not None

        await eventually(known, "the user's state is kept", seconds=SECONDS)
        return user

    async def ask(self, user: User, *, count: int = 1, **values: Any) -> MediumResolved:
        """Send a request of this user."""
        event = medium_resolved(header(user.user, count), documents(count), self.caller, **values)
        await self.room.send(self.routes.medium_resolved, [event])
        return event

    async def dispatched(self, event: MediumResolved) -> OtpDispatched:
        """Wait for the event of a request; there is one."""
        await self.tap.until(lambda: self.all_dispatched(event), "otp-dispatched", seconds=SECONDS)
        (found,) = self.all_dispatched(event)
        return found

    async def rejected(self, event: MediumResolved) -> Rejected:
        """Wait for the end of a request; there is one."""
        await self.tap.until(lambda: self.all_rejected(event), "rejected")
        (found,) = self.all_rejected(event)
        return found

    def all_dispatched(self, event: MediumResolved) -> list[OtpDispatched]:
        """What was read of a request, repeats included."""
        return [e for e in self._read(self.routes.otp_dispatched, OtpDispatched) if e.request_id == event.request_id]

    def all_rejected(self, event: MediumResolved) -> list[Rejected]:
        """What was read of a request, repeats included."""
        return [Rejected.model_validate_json(r.value or b"") for r in self.tap.of(topics.REJECTED, event.request_id)]

    async def resend(self, event: MediumResolved, **values: Any) -> ResendRequested:
        """Ask for another code of this request."""
        asked = resend_of(event, **values)
        await self.room.send(self.routes.resend_requested, [asked])
        return asked

    async def answer(self, asked: ResendRequested) -> ResendAnswered:
        """Wait for what came of an ask; it is said once."""
        await self.tap.until(lambda: self.all_answers(asked), "resend-answered")
        (found,) = self.all_answers(asked)
        return found

    def all_answers(self, asked: ResendRequested) -> list[ResendAnswered]:
        """What was read of an ask, repeats included."""
        return [e for e in self._read(self.routes.resend_answered, ResendAnswered) if e.resend == asked.resend]

    def waits(self, event: MediumResolved) -> list[Waiting]:
        """What was said of waiting, repeats included."""
        return [e for e in self._read(self.routes.waiting, Waiting) if e.request_id == event.request_id]

    async def numbered(self, event: MediumResolved, number: int) -> OtpDispatched:
        """Wait for the event of one code of a request; there is one."""

        def found() -> list[OtpDispatched]:
            return [one for one in self.all_dispatched(event) if one.number == number]

        await self.tap.until(found, f"otp-dispatched {number}")
        (one,) = found()
        return one

    def dead_letters(self, topic: Topic | None = None) -> list[str]:
        """The reasons of what was put aside."""
        records = self.tap.of((topic or self.routes.medium_resolved).dead_letter)
        return [bytes(value).decode() for r in records for name, value in r.headers if name == "x-dead-letter-reason"]

    def opened(self, event: OtpDispatched, root: bytes) -> Challenge:
        """The challenge, as the signer opens it."""
        key = read_signing_key(self.settings.producer_key.get_secret_value())
        info = sealing_info(PURPOSE_CHALLENGE, str(event.request_id), root, event.sealing_key_id)
        producers = {public_key_id(key.public_key()): key.public_key()}
        return open_challenge(event.challenge, self.sealing.key, info, producers.get)

    def ready(self, name: str) -> bool:
        """Whether a dependency is well, as the service last saw it."""
        return not waits_for(self.health, name)

    async def dump(self) -> str:
        """Every value of every row of every table of the service's schema as text; byte strings as Latin-1.

        Not as hex, in which nearly every run of digits stands somewhere, and for the same reason without identifiers.
        """
        connection = await self.room.superuser()
        try:
            tables = await connection.fetch(
                "select table_name as name from information_schema.tables where table_schema = $1", self.room.schema
            )
            values: list[object] = []
            for table in tables:
                for row in await connection.fetch(f'select * from {self.room.schema}."{table["name"]}"'):
                    values += row.values()
        finally:
            await connection.close()
        text = "\n".join(value.decode("latin-1") if isinstance(value, bytes) else str(value) for value in values)
        return without_identifiers(text)

    def _read(self, topic: Topic, kind: Any) -> list[Any]:
        return [kind.model_validate_json(record.value or b"") for record in self.tap.of(topic)]


def code_in(mail: EmailMessage) -> tuple[str, str]:
    """Code and reference code of a message."""
    found = CODE.search(mail.get_content())
    assert found is not None
    return found[1], found[2]


def without_identifiers(text: str) -> str:
    """Without random identifiers, digests and fractions of seconds, in which a code stands by chance."""
    return _IDENTIFIERS.sub(" ", text)


_IDENTIFIERS = re.compile(
    r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|\b([0-9a-f]{16}|[0-9a-f]{32}|[0-9a-f]{64})\b|(?<=:\d\d)\.\d{1,6}"
)


@pytest.fixture(scope="session")
def pki() -> Pki:
    return Pki(now=utc_now())


def relay_port(folder: Path) -> int:
    """One of its own, below the ephemeral range: a relay that was away finds it as it left it."""
    return reserve(folder, ("smtp",))["smtp"]


@pytest_asyncio.fixture(loop_scope="session")
async def sink(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Sink]:
    """A relay that does not run yet."""
    relay = Sink(tmp_path, relay_port(tmp_path_factory.getbasetemp() / "relay"))
    try:
        yield relay
    finally:
        await relay.kill()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def shared_sink(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Sink]:
    """A relay for tests whose addresses are their own; whoever kills it, the next one starts it.

    A module that borrows this fixture has one of its own, beside that of this folder.
    """
    relay = Sink(tmp_path_factory.mktemp("sink"), relay_port(tmp_path_factory.mktemp("relay")))
    try:
        yield relay
    finally:
        await relay.kill()


@pytest_asyncio.fixture(loop_scope="session")
async def dispatching(
    stack: Stack, pki: Pki, shared_sink: Sink, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Dispatching]:
    """Keys published, relay up; start a replica with `async with dispatching.replica():`."""
    monkeypatch.setattr(under_way, "PATIENCE", 30.0)  # no relay is called slow for this machine's sake
    own = routes({field: stack.unique_topic() for field in vars(DEFAULT_ROUTES)})
    declared: list[Topic] = [*vars(own).values(), topics.REJECTED]
    await create_topics(stack.kafka, topics=declared)
    (tmp_path / "service_root.pem").write_bytes(pki.service_root.certificate.public_bytes(Encoding.PEM))
    secrets = tmp_path / "secrets"
    make_keys(secrets, tmp_path)
    password = ensure_secret(stack.layout.secrets(ROLE), "postgres_password")
    write_secret(secrets / "postgres_password", password.encode())
    write_secret(secrets / "kafka_password", stack.kafka.password.get_secret_value().encode())
    await shared_sink.start()
    shared_sink.rules()
    async with open_room(stack, MIGRATIONS) as room:
        room.owns(*vars(own).values())
        hands = Hands(pki)
        (secrets / PRODUCER_KEY).write_bytes(hands.secret(room.schema).get_secret_value())
        await room.send(own.keys, hands.keys(own.keys, of=[room.schema]))
        settings = RoomSettings(
            service=room.schema,
            **kafka_settings(stack.kafka),
            postgres_host="127.0.0.1",
            postgres_port=stack.layout.ports["postgres"],
            postgres_user=ROLE,
            postgres_password=SecretStr(password),
            health_port=0,
            pki_dir=tmp_path,
            otp_key=SecretBytes((secrets / "otp_key").read_bytes()),
            producer_key=hands.secret(room.schema),
            smtp_host=HOST,
            smtp_port=shared_sink.port,
        )
        tap = await room.tap(*vars(own).values(), topics.REJECTED)
        yield Dispatching(
            room, pki, pki.caller(), pki.sealing_key(), own, shared_sink, tap, settings, secrets, Health(room.schema)
        )
