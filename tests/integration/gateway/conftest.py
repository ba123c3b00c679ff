"""The gateway on the real stack, in this process, on topics and a schema of its own."""

import base64
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest
import pytest_asyncio
from cryptography.hazmat.primitives.serialization import Encoding
from pydantic import SecretBytes, SecretStr

from deploy.native.secret_files import ensure_secret
from libs.bus.topics import create_topics
from libs.contracts.base import Event
from libs.contracts.cancelling import CancelAnswered, CancelRequested
from libs.contracts.manifest import Header
from libs.contracts.problems import ProblemCode
from libs.contracts.progress import Progressed
from libs.contracts.resending import ResendAnswered
from libs.contracts.signing import (
    AuthorisationFailed,
    AuthorisationSubmitted,
    Completed,
    MediumResolved,
    OtpDispatched,
    Rejected,
    Requested,
)
from libs.contracts.state import Key
from libs.contracts.topics import Topic
from libs.contracts.waiting import Waiting
from libs.runtime.clock import utc_now
from libs.runtime.health import Health
from libs.storage import state
from libs.storage.pool import Pool
from services.gateway.app import DEFAULT_ROUTES, Routes, serve
from services.gateway.live import Live
from services.gateway.schemas import Problem, SigningStatus
from services.gateway.settings import Settings
from services.gateway.store import MIGRATIONS
from tests.integration.gateway.connections import Connections
from tests.integration.gateway.twins import cut_off_api
from tests.support.bus import ROLE, Room, open_room
from tests.support.pki import Pki
from tests.support.producers import Hands
from tests.support.requests import Caller, documents, header, key_state, medium_resolved, new_user
from tests.support.service import kafka_settings
from tests.support.stack import Stack
from tests.support.tap import Tap
from tests.support.tls import Tls, connected
from tests.support.waiting import eventually

SEALED = b"s" * 200
"""Something sealed; the gateway cannot tell."""


class RoomSettings(Settings):
    """Settings under a name of the test's own: group, schema and producer."""

    service: str  # type: ignore[assignment]


@dataclass
class Door:
    """A running gateway, its callers, and what surrounds it."""

    room: Room
    pki: Pki
    caller: Caller
    routes: Routes
    tap: Tap
    settings: RoomSettings
    http: httpx.AsyncClient
    """The caller's connections."""
    health: Health
    tls: Tls
    connections: Connections

    def token(self, user: str, *, caller: Caller | None = None, **claims: Any) -> str:
        """A JWT for one call."""
        return self.connections.token(caller or self.caller, user, **claims)

    async def get(self, path: str, token: str | None, **headers: str) -> httpx.Response:
        """GET under this token, over its caller's own connection."""
        bearer = {} if token is None else {"Authorization": f"Bearer {token}"}
        return await (await self.connections.for_token(token)).get(path, headers={**bearer, **headers})

    async def status(self, request_id: UUID, user: str) -> SigningStatus:
        """The status that the request's own user is given."""
        answer = await self.get(f"/v1/signings/{request_id}", self.token(user))
        assert answer.status_code == 200, answer.text
        return SigningStatus.model_validate_json(answer.content)

    async def until(self, head: Header, condition: Callable[[SigningStatus], Any], what: str) -> SigningStatus:
        """Poll the status until the condition holds."""

        async def check() -> SigningStatus | None:
            answer = await self.get(f"/v1/signings/{head.request_id}", self.token(head.user))
            if answer.status_code == 404:
                return None
            status = SigningStatus.model_validate_json(answer.content)
            return status if condition(status) else None

        found: SigningStatus = await eventually(check, what)
        return found

    async def awaiting(self, count: int = 1) -> MediumResolved:
        """A request that waits for PIN and OTP."""
        event = medium_resolved(header(new_user(), count), documents(count), self.caller)
        await self.room.send(self.routes.medium_resolved, [event])
        await self.room.send(self.routes.otp_dispatched, [dispatched(event)])
        head = event.signed.manifest.header
        await self.until(head, lambda status: status.state == "awaiting-authorisation", "awaiting authorisation")
        return event

    async def submit(
        self,
        event: MediumResolved,
        key: str,
        *,
        sealed: bytes = SEALED,
        user: str | None = None,
        http: httpx.AsyncClient | None = None,
        **headers: str,
    ) -> httpx.Response:
        """Hand in PIN and OTP."""
        token = self.token(user or event.signed.manifest.header.user)
        return await (http or self.http).post(
            f"/v1/signings/{event.request_id}/authorisations",
            json={"sealing_key_id": "cd" * 32, "sealed": base64.b64encode(sealed).decode()},
            headers={"Authorization": f"Bearer {token}", "Idempotency-Key": key, **headers},
        )

    async def start(
        self,
        event: Requested,
        key: str,
        *,
        user: str | None = None,
        http: httpx.AsyncClient | None = None,
        content: bytes | None = None,
        **headers: str,
    ) -> httpx.Response:
        """Ask for a signing, with this event as the body, or other content."""
        token = self.token(user or event.manifest.header["user"])
        return await (http or self.http).post(
            "/v1/signings",
            content=event.model_dump_json().encode() if content is None else content,
            headers={"Authorization": f"Bearer {token}", "Idempotency-Key": key, **headers},
        )

    async def cancel(
        self,
        event: MediumResolved,
        key: str,
        *,
        user: str | None = None,
        caller: Caller | None = None,
        http: httpx.AsyncClient | None = None,
        **claims: Any,
    ) -> httpx.Response:
        """Take the request back."""
        token = self.token(user or event.signed.manifest.header.user, caller=caller, **claims)
        return await (http or await self.connections.of(caller or self.caller)).post(
            f"/v1/signings/{event.request_id}/cancellation",
            headers={"Authorization": f"Bearer {token}", "Idempotency-Key": key},
        )

    async def cancels(self, event: MediumResolved) -> list[tuple[str, CancelRequested]]:
        """(event id, event) of every cancel that is published for a request, repeats included."""
        await self.tap.read()
        topic = self.routes.cancel_requested
        read = [CancelRequested.model_validate_json(record.value or b"") for record in self.tap.of(topic)]
        found = zip(self.tap.ids(topic), read, strict=True)
        return [(identifier, one) for identifier, one in found if one.request_id == event.request_id]

    async def submitted(self, event: MediumResolved) -> list[tuple[str, AuthorisationSubmitted]]:
        """(event id, event) of everything that is published for a request, repeats included, in both lanes."""
        await self.tap.read()
        found = []
        for topic in (self.routes.interactive, self.routes.bulk):
            for identifier, record in zip(self.tap.ids(topic), self.tap.of(topic), strict=True):
                read = AuthorisationSubmitted.model_validate_json(record.value or b"")
                if read.request_id == event.request_id:
                    found.append((identifier, read))
        return found

    async def tell(self, *keys: Key) -> None:
        """Publish keys and wait until they are kept."""
        await self.room.send(self.routes.keys, keys)

        async def known() -> bool:
            async with self.room.pool.acquire() as connection:
                kept = [*await state.keys(connection, "caller"), *await state.keys(connection, "sealing")]
            return {(key.key_id, key.version) for key in kept} >= {(k.key_id, k.version) for k in keys}

        await eventually(known, "the keys are kept")

    @asynccontextmanager
    async def cut_off(self) -> AsyncIterator[httpx.AsyncClient]:
        """A twin on the same schema whose broker is away."""
        twin = httpx.ASGITransport(self.api(self.room.pool, Live(self.room.pool)))
        async with httpx.AsyncClient(transport=twin, base_url="https://gateway") as client:
            yield client

    def api(self, pool: Pool, live: Live) -> Any:
        """The API of a twin over this pool, with these streams, whose broker is away, for this caller's connections."""
        return connected(cut_off_api(self.settings, self.routes, self.pki, pool, live), self.caller)

    async def rows(self) -> dict[str, list[Any]]:
        """What the gateway keeps of requests."""
        tables = ("request", "timeline", "manifest", "challenge", "submission")
        return {name: await self.room.pool.fetch(f"select * from {name} order by 1, 2") for name in tables}


def dispatched(event: MediumResolved, number: int = 1, *, expires: datetime | None = None) -> OtpDispatched:
    """What otp_dispatch says of a delivered code."""
    return OtpDispatched(
        request_id=event.request_id,
        user=event.signed.manifest.header.user,
        number=number,
        channel="e-mail",
        destination="p***@anm.example",
        reference_code=f"K7{number}",
        delivered_at=utc_now(),
        expires_at=expires or utc_now() + timedelta(minutes=10),
        sealing_key_id="cd" * 32,
        challenge=f"challenge {number}".encode(),
    )


def routed(routes: Routes, event: Event) -> Topic:
    """The topic of an event."""
    return {
        MediumResolved: routes.medium_resolved,
        OtpDispatched: routes.otp_dispatched,
        AuthorisationFailed: routes.authorisation_failed,
        CancelAnswered: routes.cancel_answered,
        ResendAnswered: routes.resend_answered,
        Waiting: routes.waiting,
        Progressed: routes.progressed,
        Rejected: routes.rejected,
        Completed: routes.completed,
    }[type(event)]


def code_of(answer: httpx.Response) -> ProblemCode:
    """The code of a problem."""
    assert answer.headers["content-type"] == "application/problem+json"
    found = Problem.model_validate_json(answer.content)
    assert found.status == answer.status_code
    return ProblemCode(found.code)


@pytest.fixture(scope="session")
def pki() -> Pki:
    return Pki(now=utc_now())


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def door(stack: Stack, pki: Pki, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Door]:
    """One replica that knows one caller and one sealing key; its requests are each test's own."""
    folder: Path = tmp_path_factory.mktemp("gateway")
    tls = Tls.make(folder)
    own: dict[str, Topic] = vars(DEFAULT_ROUTES)
    routes = Routes(**{field: stack.own(topic) for field, topic in own.items()})
    await create_topics(stack.kafka, topics=list(vars(routes).values()))
    (folder / "service_root.pem").write_bytes(pki.service_root.certificate.public_bytes(Encoding.PEM))
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
            pki_dir=folder,
            producer_key=hands.secret(room.schema),
            gateway_port=0,
            gateway_tls=SecretBytes(tls.server),
        )
        tap = await room.tap(*vars(routes).values())
        health = Health(room.schema)
        async with serve(settings, health, routes) as port:
            await eventually(lambda: health.ready, "ready")
            async with Connections(f"https://127.0.0.1:{port}", tls) as connections:
                http = await connections.of(caller := pki.caller())
                found = Door(room, pki, caller, routes, tap, settings, http, health, tls, connections)
                await found.tell(key_state(caller, "caller", "igfmas", pki))
                yield found
