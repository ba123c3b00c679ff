"""GPKI Mobile's inbox: messages that only their device can open, told to that device alone."""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated, Final
from uuid import UUID

from fastapi import APIRouter, Depends
from fastapi import Path as PathParameter
from fastapi.security import HTTPAuthorizationCredentials
from starlette.responses import Response

from libs.bus.outcomes import Unavailable
from libs.contracts.notice import OfficerTold
from libs.contracts.problems import ProblemCode
from libs.contracts.signing import OtpDispatched
from libs.contracts.state import Device, User
from libs.runtime.clock import Clock
from libs.storage import state
from libs.storage.pool import Connection, Pool
from libs.storage.queries import load_queries
from services.gateway.access import ACQUIRE_TIMEOUT, refused, use_up
from services.gateway.answers import BEARER, json_answer
from services.gateway.authentication import Caller, claimed_user, judge_device
from services.gateway.descriptions import problems
from services.gateway.inbox_schemas import Message, Messages, Notice, Notices
from services.gateway.problems import ProblemError
from services.gateway.schemas import KeyId

MAX_MESSAGES: Final = 20
"""Messages of an answer, the newest: codes live for minutes, and a request has three."""

NOTICES_KEPT: Final = timedelta(days=30)
"""For so long a device can read what it was told of changes."""

_SQL = load_queries(Path(__file__).parent / "sql" / "inbox.sql")


async def keep(connection: Connection, events: Sequence[OtpDispatched]) -> None:
    """Keep the messages that were sealed to a device."""
    rows = [
        (
            event.request_id,
            event.number,
            event.device_id,
            event.user,
            event.reference_code,
            event.delivered_at,
            event.expires_at,
            event.message,
        )
        for event in events
        if event.device_id is not None and event.message is not None
    ]
    if rows:
        await connection.execute(_SQL["clear"])
        await connection.executemany(_SQL["keep"], rows)


async def keep_notices(connection: Connection, events: Sequence[OfficerTold]) -> None:
    """Keep what devices are told of changes."""
    rows = [
        (one.notice, one.device.device_id, one.user, one.device.model_dump_json(), one.told_at, one.message)
        for one in events
    ]
    if rows:
        await connection.execute(_SQL["clear_notices"], NOTICES_KEPT)
        await connection.executemany(_SQL["keep_notice"], rows)


class Inbox:
    """Answers devices. `knows_state` says whether the state of the users was read to its end."""

    def __init__(self, pool: Pool, clock: Clock, knows_state: Callable[[], bool]) -> None:
        self._pool = pool
        self._clock = clock
        self._knows_state = knows_state

    async def messages(self, device_id: str, token: str | None) -> Messages:
        """What is sealed to this device and has not expired, for its own token, which is used up by it.

        Raises ProblemError; Unavailable while users are unknown.
        """
        async with self._pool.acquire(timeout=ACQUIRE_TIMEOUT) as connection:
            caller, _ = await self._admitted(connection, device_id, token)
            rows = await connection.fetch(_SQL["messages"], device_id, caller.user, self._clock(), MAX_MESSAGES)
        return Messages(messages=tuple(Message(**row) for row in reversed(rows)))

    async def notices(self, device_id: str, token: str | None) -> Notices:
        """What this device was told of changes, also after it was replaced: that above all. Raises as `messages`."""
        since = self._clock() - NOTICES_KEPT
        async with self._pool.acquire(timeout=ACQUIRE_TIMEOUT) as connection:
            caller, _ = await self._admitted(connection, device_id, token, replaced_since=since)
            rows = await connection.fetch(_SQL["notices"], device_id, caller.user, since, MAX_MESSAGES)
        return Notices(notices=tuple(Notice(**row) for row in reversed(rows)))

    async def admit(self, device_id: str, token: str | None) -> tuple[Caller, User]:
        """The device of this token, which is used up by it, and its user.

        Raises ProblemError; Unavailable while users are unknown.
        """
        async with self._pool.acquire(timeout=ACQUIRE_TIMEOUT) as connection:
            return await self._admitted(connection, device_id, token)

    async def was_told(self, device: Caller, request_id: UUID, reference_code: str) -> bool:
        """Whether a message of this request, under this reference, was for this device."""
        async with self._pool.acquire(timeout=ACQUIRE_TIMEOUT) as connection:
            return bool(
                await connection.fetchval(_SQL["was_told"], device.name, device.user, request_id, reference_code)
            )

    async def _admitted(
        self, connection: Connection, device_id: str, token: str | None, *, replaced_since: datetime | None = None
    ) -> tuple[Caller, User]:
        """The device that is registered now; with `replaced_since` also one that was told of a change since then."""
        user_id = claimed_user(token) if token else None
        if token is None or user_id is None:
            raise refused("no-token")
        now = self._clock()
        user = await state.user(connection, user_id)
        if user is None and not self._knows_state():
            raise Unavailable("state")
        caller = judge_device(token, user, now)
        if caller is None and user is not None and replaced_since is not None:
            device = await connection.fetchval(_SQL["told_device"], device_id, user_id, replaced_since)
            known = None if device is None else Device.model_validate_json(device)
            caller = judge_device(token, user.model_copy(update={"device": known}), now)
        if caller is None or user is None:
            raise refused("no-device")
        await use_up(connection, caller, now)
        if caller.name != device_id:
            raise ProblemError(ProblemCode.NOT_FOUND)
        return caller, user


def inbox_routes(inbox: Inbox) -> APIRouter:
    """`GET /v1/devices/{device_id}/messages` and `.../notices`; the bearer token is the device's own."""
    router = APIRouter()

    @router.get("/v1/devices/{device_id}/messages", response_model=Messages, responses=problems(ProblemCode.NOT_FOUND))
    async def device_messages(
        device_id: Annotated[KeyId, PathParameter()],
        credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(BEARER)],
    ) -> Response:
        """The messages of a device whose codes have not expired, the newest last.

        The token is signed by the device (EdDSA): `kid` and `iss` are the device's id, `sub` is its user.
        """
        return await json_answer(await inbox.messages(device_id, credentials.credentials if credentials else None))

    @router.get("/v1/devices/{device_id}/notices", response_model=Notices, responses=problems(ProblemCode.NOT_FOUND))
    async def device_notices(
        device_id: Annotated[KeyId, PathParameter()],
        credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(BEARER)],
    ) -> Response:
        """What a device was told of changes in the last 30 days, the newest last; also after it was replaced.

        The token is signed by the device (EdDSA): `kid` and `iss` are the device's id, `sub` is its user.
        """
        return await json_answer(await inbox.notices(device_id, credentials.credentials if credentials else None))

    return router
