"""enrolment on the real stack, in this process, on topics and a schema of its own."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding
from pydantic import SecretStr

from deploy.native.secret_files import ensure_secret
from libs.bus.topics import create_topics
from libs.contracts.enrolment import ApplicationRefused, ApplicationSubmitted, KeyRequested
from libs.contracts.state import Certificate, User
from libs.contracts.topics import Topic
from libs.runtime.clock import utc_now
from libs.runtime.health import Health
from services.enrolment.app import serve
from services.enrolment.routes import DEFAULT_ROUTES, Routes
from services.enrolment.settings import Settings
from services.enrolment.store import MIGRATIONS
from tests.support.bus import ROLE, Room, open_room
from tests.support.pki import Identity, Pki
from tests.support.producers import Hands
from tests.support.requests import key_state
from tests.support.service import kafka_settings
from tests.support.stack import Stack
from tests.support.tap import Tap
from tests.support.waiting import eventually


class RoomSettings(Settings):
    """Settings under a name of the test's own: group, schema and producer."""

    service: str  # type: ignore[assignment]


@dataclass
class Office:
    """enrolment, a registrar whom it knows, and what it published."""

    room: Room
    settings: RoomSettings
    routes: Routes
    tap: Tap
    pki: Pki
    registrar: Identity[Ed25519PrivateKey]

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """A replica."""
        async with serve(self.settings, Health(self.room.schema), self.routes):
            yield

    async def submit(self, *events: ApplicationSubmitted) -> None:
        await self.room.send(self.routes.application_submitted, events)

    async def tell(self, *events: Certificate) -> None:
        await self.room.send(self.routes.certificate, events)

    async def handled(self, topic: Topic, count: int) -> None:
        """Wait until so many records of a topic are handled, then read what followed."""
        await self.room.all_committed(topic, count)
        await self.tap.read()

    def users(self) -> list[User]:
        """Published user states, repeats included, by version."""
        found = [User.model_validate_json(r.value or b"") for r in self.tap.of(self.routes.user)]
        return sorted(found, key=lambda user: user.version)

    def key_requests(self) -> list[KeyRequested]:
        return [KeyRequested.model_validate_json(r.value or b"") for r in self.tap.of(self.routes.key_requested)]

    def refusals(self) -> list[ApplicationRefused]:
        records = self.tap.of(self.routes.application_refused)
        return [ApplicationRefused.model_validate_json(record.value or b"") for record in records]

    def dead_letters(self, topic: Topic) -> list[str]:
        """The reasons of what was put aside."""
        records = self.tap.of(topic.dead_letter)
        return [bytes(value).decode() for r in records for name, value in r.headers if name == "x-dead-letter-reason"]

    async def parked(self, why: str, count: int) -> None:
        """Wait until so many records wait for what they may have overtaken."""
        query = "select count(*) from due where why = $1"

        async def all_parked() -> bool:
            return await self.room.count(query, why) == count

        await eventually(all_parked, f"{count} wait: {why}")

    async def wait_is_over(self) -> None:
        """Have what is parked looked at now."""
        await self.room.pool.execute("update due set at = now()")

    async def until(self, found: Sequence[str], count: int) -> None:
        """Wait until the named lists hold so many events each."""
        await self.tap.until(lambda: all(len(getattr(self, name)()) >= count for name in found), f"{count} {found}")


@pytest.fixture(scope="module")
def pki() -> Pki:
    return Pki(now=utc_now())


@pytest_asyncio.fixture(loop_scope="session")
async def office(stack: Stack, pki: Pki, tmp_path: Path) -> AsyncIterator[Office]:
    """Not running; two registrars' keys are on its topic."""
    own = {name: stack.own(topic) for name, topic in vars(DEFAULT_ROUTES).items()}
    routes = Routes(**own)
    await create_topics(stack.kafka, topics=own.values())
    (tmp_path / "service_root.pem").write_bytes(pki.service_root.certificate.public_bytes(Encoding.PEM))
    async with open_room(stack, MIGRATIONS) as room:
        room.owns(*own.values())
        hands = Hands(pki)
        await room.send(routes.keys, hands.keys(routes.keys, of=[room.schema]))
        settings = RoomSettings(
            service=room.schema,
            **kafka_settings(stack.kafka),
            postgres_host="127.0.0.1",
            postgres_port=stack.layout.ports["postgres"],
            postgres_user=ROLE,
            postgres_password=SecretStr(ensure_secret(stack.layout.secrets(ROLE), "postgres_password")),
            health_port=0,
            pki_dir=tmp_path,
            producer_key=hands.secret(room.schema),
        )
        registrar = pki.registrar()
        people = (registrar, "mygpki"), (pki.validator(), "mygpki-pengesah")
        await room.send(routes.keys, [key_state(one, "registrar", name, pki) for one, name in people])
        yield Office(room, settings, routes, await room.tap(*own.values()), pki, registrar)
