"""medium_lookup on the real stack, in this process, on topics and a schema of its own."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from cryptography.hazmat.primitives.serialization import Encoding
from pydantic import SecretStr

from deploy.native.secret_files import ensure_secret
from libs.bus.topics import create_topics
from libs.contracts import topics
from libs.contracts.base import Event
from libs.contracts.cancelling import CancelAnswered, CancelRequested
from libs.contracts.signing import MediumResolved, Rejected
from libs.contracts.state import User
from libs.contracts.topics import Topic
from libs.runtime.clock import utc_now
from libs.runtime.health import Health
from libs.storage import state
from services.medium_lookup.app import Routes, serve
from services.medium_lookup.settings import Settings
from services.medium_lookup.store import MIGRATIONS
from tests.support.bus import ROLE, Room, open_room
from tests.support.pki import Pki
from tests.support.producers import Hands
from tests.support.requests import Caller, certificate_state, key_state, new_user, user_state
from tests.support.service import kafka_settings
from tests.support.stack import Stack
from tests.support.tap import Tap
from tests.support.waiting import eventually


class RoomSettings(Settings):
    """Settings under a name of the test's own: group, schema and producer."""

    service: str  # type: ignore[assignment]


@dataclass
class Lookup:
    """A running medium_lookup, what it reads and what it writes."""

    room: Room
    pki: Pki
    caller: Caller
    routes: Routes
    tap: Tap
    cancels_sent: int = 0

    async def user(self, *, certificate: dict[str, Any] | None = None, **values: Any) -> User:
        """An officer whom medium_lookup knows, with a certificate unless `credential_id` is None."""
        user = user_state(new_user(), **values)
        if user.credential_id is not None:
            await self.room.send(self.routes.certificate, [certificate_state(user, **(certificate or {}))])
        await self.tell(self.routes.user, user)
        return user

    async def tell(self, topic: Topic, event: Event) -> None:
        """Publish state and wait until everything published so far on that topic is kept."""
        await self.room.send(topic, [event])

        async def known() -> bool:
            async with self.room.pool.acquire() as connection:
                if isinstance(event, User):
                    user = await state.user(connection, event.user)
                    if user is None or user.credential_id is None:
                        return user is not None
                    return bool(await state.certificates(connection, [user.credential_id]))
                return await state.key(connection, event.key, "caller") is not None

        await eventually(known, "the state is kept")

    async def handled(self, count: int) -> None:
        """Wait until so many requests were handled, then read what followed."""
        await self.room.all_committed(self.routes.requested, count)
        await self.tap.read()

    async def cancel(self, *events: CancelRequested) -> None:
        """Publish cancels, and wait until they are handled."""
        self.cancels_sent += len(events)
        await self.room.send(self.routes.cancel_requested, events)
        await self.room.all_committed(self.routes.cancel_requested, self.cancels_sent)
        await self.tap.read()

    def answers(self, request_id: object) -> list[CancelAnswered]:
        """What was answered to cancels of a request, repeats included."""
        answered = self.tap.of(topics.CANCEL_ANSWERED, request_id)
        return [CancelAnswered.model_validate_json(record.value or b"") for record in answered]

    def resolved(self) -> list[MediumResolved]:
        """What was published, repeats included."""
        return [MediumResolved.model_validate_json(r.value or b"") for r in self.tap.of(self.routes.medium_resolved)]

    def rejected(self, request_id: object) -> list[Rejected]:
        """What was published for a request, repeats included."""
        return [Rejected.model_validate_json(r.value or b"") for r in self.tap.of(topics.REJECTED, request_id)]

    def dead_letters(self, topic: Topic | None = None) -> list[str]:
        """The reasons of what was put aside."""
        records = self.tap.of((topic or self.routes.requested).dead_letter)
        return [bytes(value).decode() for r in records for name, value in r.headers if name == "x-dead-letter-reason"]


@pytest.fixture(scope="session")
def pki() -> Pki:
    return Pki(now=utc_now())


@pytest_asyncio.fixture(loop_scope="session")
async def lookup(stack: Stack, pki: Pki, tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Lookup]:
    """One replica that knows one caller; with a parameter, of these media only."""
    routes = Routes(
        **{
            name: stack.own(topic)
            for name, topic in {
                "requested": topics.REQUESTED,
                "cancel_requested": topics.CANCEL_REQUESTED,
                "medium_resolved": topics.MEDIUM_RESOLVED,
                "user": topics.USER,
                "certificate": topics.CERTIFICATE,
                "keys": topics.KEYS,
            }.items()
        }
    )
    await create_topics(stack.kafka, topics=[*vars(routes).values(), topics.REJECTED, topics.CANCEL_ANSWERED])
    (tmp_path / "service_root.pem").write_bytes(pki.service_root.certificate.public_bytes(Encoding.PEM))
    async with open_room(stack, MIGRATIONS) as room:
        room.owns(*vars(routes).values())
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
            **({"media": request.param} if hasattr(request, "param") else {}),
        )
        caller = pki.caller()
        watched = (routes.medium_resolved, routes.requested, routes.cancel_requested, routes.keys)
        tap = await room.tap(*watched, topics.REJECTED, topics.CANCEL_ANSWERED)
        async with serve(settings, Health(room.schema), routes):
            found = Lookup(room, pki, caller, routes, tap)
            await found.tell(routes.keys, key_state(caller, "caller", "igfmas", pki))
            yield found
