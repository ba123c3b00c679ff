"""Steps 3-5 over HTTP: which medium an officer signs with, from our copy of users and certificates."""

from collections.abc import Callable
from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Depends
from starlette.responses import Response

from libs.bus.admission import may_ask
from libs.bus.outcomes import Unavailable
from libs.contracts.manifest import UserId
from libs.contracts.problems import ProblemCode
from libs.contracts.state import Certificate
from libs.crypto.certificates import CertificateError, certificate_facts
from libs.storage import state
from libs.storage.pool import Pool
from services.gateway.access import ACQUIRE_TIMEOUT
from services.gateway.answers import CallerOf, json_answer
from services.gateway.authentication import Caller
from services.gateway.descriptions import problems
from services.gateway.problems import ProblemError
from services.gateway.schemas import UserCertificate, UserMedium


class Media:
    """Tells an officer's medium. `knows_state` says whether users and certificates were read to their end."""

    def __init__(self, pool: Pool, knows_state: Callable[[], bool]) -> None:
        self._pool = pool
        self._knows_state = knows_state

    async def of(self, user: str, caller: Caller) -> UserMedium:
        """The medium of the token's own user; anybody else does not exist, nor who is of no office of the caller's.

        Raises ProblemError, Unavailable.
        """
        if user != caller.user:
            raise ProblemError(ProblemCode.NOT_FOUND)
        async with self._pool.acquire(timeout=ACQUIRE_TIMEOUT) as connection:
            known = await state.user(connection, user)
            ids = [known.credential_id] if known and known.credential_id else []
            certificates = await state.certificates(connection, ids)
        if len(certificates) < max(1, len(ids)) and not self._knows_state():
            raise Unavailable("state")
        if known is None or not may_ask(caller.offices, known):
            raise ProblemError(ProblemCode.NOT_FOUND)
        certificate = next((_told(one) for one in certificates.values() if one.user == user), None)
        return UserMedium(user=user, medium=known.medium, channels=known.channels, certificate=certificate)


def media_routes(media: Media, caller_of: CallerOf) -> APIRouter:
    """`GET /v1/users/{user}/medium`."""
    router = APIRouter()

    @router.get("/v1/users/{user}/medium", response_model=UserMedium, responses=problems(ProblemCode.NOT_FOUND))
    async def user_medium(user: UserId, caller: Annotated[Caller, Depends(caller_of)]) -> Response:
        """What the token's own user signs with; nobody else's is told."""
        return await json_answer(await media.of(user, caller))

    return router


def _told(certificate: Certificate) -> UserCertificate:
    return UserCertificate(status=certificate.status, not_after=_end(certificate.certificate))


def _end(der: bytes) -> datetime | None:
    try:
        return certificate_facts(der).not_after
    except CertificateError:
        return None
