"""Steps 1-2 over HTTP: a new request is judged as medium_lookup will, and published as `requested`."""

import asyncio
from collections.abc import Callable
from hashlib import sha256
from typing import Annotated, Final
from uuid import UUID

import structlog
from fastapi import APIRouter, Depends, Request
from pydantic import ConfigDict, Field
from starlette.responses import Response

from libs.bus.admission import Forged, Refused, admit, may_ask
from libs.bus.outcomes import Emit, Unavailable
from libs.bus.trust import usable_key
from libs.contracts.base import Base64
from libs.contracts.manifest import UncheckedManifest
from libs.contracts.problems import ProblemCode
from libs.contracts.reasons import Reason
from libs.contracts.signing import Requested
from libs.contracts.state import Key
from libs.contracts.topics import Topic
from libs.runtime import metrics
from libs.runtime.clock import Clock
from libs.storage import ledger, state
from libs.storage.pool import Connection, Pool
from services.gateway import store, timeline
from services.gateway.access import ACQUIRE_TIMEOUT
from services.gateway.answers import CallerOf, IdempotencyKey, json_answer
from services.gateway.authentication import Caller
from services.gateway.bodies import LargeBodies, parsed
from services.gateway.descriptions import body_of, problems
from services.gateway.problems import ProblemError
from services.gateway.promises import Call, Promise, Promises
from services.gateway.schemas import Fault, KeyId, SigningRequest, Started

_KIND: Final = b"signing\x1f"

log = structlog.get_logger()


class _SentManifest(UncheckedManifest):
    model_config = ConfigDict(extra="forbid")


class _Sent(Requested):
    """A body by its shape alone, as `requested` is read, but without a name that nobody knows."""

    model_config = ConfigDict(extra="forbid")

    manifest: _SentManifest
    caller_key: KeyId
    signature: Annotated[Base64, Field(min_length=1, max_length=1024)]


class Starting:
    """Takes new requests. Any number of replicas. `knows_keys` says whether the keys' state was read to its end."""

    def __init__(
        self,
        promises: Promises,
        *,
        service: str,
        pool: Pool,
        service_root: bytes,
        clock: Clock,
        knows_keys: Callable[[], bool],
        emits_to: Topic,
    ) -> None:
        self._promises = promises
        self._service = service
        self._pool = pool
        self._service_root = service_root
        self._clock = clock
        self._knows_keys = knows_keys
        self._emits_to = emits_to

    async def start(self, caller: Caller, idempotency_key: str, trace: str, body: bytes) -> Started:
        """Publish the request of this body, once however often it is sent, under whatever idempotency key.

        Raises ProblemError, RequestValidationError, Unavailable; what is refused here is no request, and ends none.
        """
        event = await asyncio.to_thread(parsed, _Sent, body)
        if not caller.owns(event.manifest.header):
            raise ProblemError(ProblemCode.CALLER_NOT_ALLOWED)
        async with self._pool.acquire(timeout=ACQUIRE_TIMEOUT) as connection:
            key = await state.key(connection, event.caller_key, "caller")
            # Asked only for a caller that is limited: no other call pays for it.
            user = await state.user(connection, caller.user) if caller.offices else None
        if key is None and not self._knows_keys():
            raise Unavailable("state")
        await asyncio.to_thread(self._judge, event, key)
        if user is not None and not may_ask(caller.offices, user):
            raise ProblemError(ProblemCode.CALLER_NOT_ALLOWED)
        request_id, root = event.identity()
        async with self._pool.acquire(timeout=ACQUIRE_TIMEOUT) as connection:
            await self._refuse_other_content(connection, request_id, root)

        async def write(connection: Connection) -> None:
            # Under the mark by which the topic's own handler knows a request: whichever of the two is first makes the
            # row, and other content meets it, on every replica, before anything of it is published.
            if await ledger.claim(connection, [(request_id, root)]):
                row = timeline.requested(request_id, event.manifest.header, self._clock())
                await store.advance(connection, [row])
            await self._refuse_other_content(connection, request_id, root)

        async def make(_: Connection) -> Promise:
            return Promise((Emit(self._emits_to, event),), str(request_id), sealed=False, write=write)

        call = Call(request_id, caller, idempotency_key, trace)
        await self._promises.keep(call, sha256(_KIND + root).digest(), make)
        log.info("requested", request_id=str(request_id), documents=len(event.manifest.documents))
        return Started(request_id=request_id, root=root.hex(), status_url=f"/v1/signings/{request_id}")

    def _judge(self, event: Requested, key: Key | None) -> None:
        """Raise ProblemError unless medium_lookup would take it. About 25 µs a document."""
        admitted = admit(event, usable_key(key, self._service_root, self._clock()))
        if isinstance(admitted, Forged):
            raise ProblemError(ProblemCode.CALLER_SIGNATURE_INVALID)
        if isinstance(admitted, Refused):
            faults = [Fault(place=f"body.manifest.{place}", rule=rule) for place, rule in admitted.faults]
            raise ProblemError(ProblemCode(admitted.reason), errors=faults)

    async def _refuse_other_content(self, connection: Connection, request_id: UUID, root: bytes) -> None:
        """Raise ProblemError when this id is known with other content, from a call or from the topic."""
        known, _ = await ledger.seen(connection, [request_id], [])
        if request_id in known and known[request_id].content_hash != root:
            metrics.alarm(self._service, Reason.ID_CONFLICT, request_id=str(request_id), refused=root.hex())
            raise ProblemError(ProblemCode.ID_CONFLICT, refused=root)


def starting_routes(starting: Starting, bodies: LargeBodies, caller_of: CallerOf) -> APIRouter:
    """`POST /v1/signings`."""
    router = APIRouter()

    @router.post(
        "/v1/signings",
        status_code=202,
        response_model=Started,
        responses=problems(
            ProblemCode.CALLER_NOT_ALLOWED,
            ProblemCode.CALLER_SIGNATURE_INVALID,
            ProblemCode.MANIFEST_INVALID,
            ProblemCode.DOCUMENT_DUPLICATE,
            ProblemCode.TOO_MANY_DOCUMENTS,
            ProblemCode.ID_CONFLICT,
            ProblemCode.IDEMPOTENCY_KEY_REUSED,
        ),
        openapi_extra=body_of(SigningRequest),
    )
    async def start_signing(
        request: Request, caller: Annotated[Caller, Depends(caller_of)], idempotency_key: IdempotencyKey
    ) -> Response:
        """Ask the token's user to sign these documents: what `requested` is on Kafka, judged before it is answered.

        The same request again is answered as it was first. What is refused here is no request, and ends none.
        """
        async with bodies.read(request) as body:
            started = await starting.start(caller, idempotency_key, request.state.traceparent, body)
        return await json_answer(started, status_code=202, headers={"Location": started.status_url})

    return router
