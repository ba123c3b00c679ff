"""Events in, outcomes out: applications and news of certificates."""

from collections.abc import Callable
from hashlib import sha256
from typing import Final, TypeVar

import structlog

from libs.bus.administrators import doubt, signatures_of
from libs.bus.delivery import Delivery
from libs.bus.outcomes import Done, Emit, Outcome, Poison
from libs.bus.work import Work
from libs.contracts.enrolment import (
    ApplicationRefused,
    ApplicationSubmitted,
    KeyRequested,
    TokenApplicationSubmitted,
    TokenCertificateRequested,
    confirmation_input,
    credential_id_of,
    is_confirmed_pin,
)
from libs.contracts.state import Certificate
from libs.storage.pool import Connection
from services.enrolment import store
from services.enrolment.registration import AnyApplication, Refused, apply, certified, medium_of, user_state
from services.enrolment.routes import Routes

STAGE: Final = "enrolment"

S = TypeVar("S", ApplicationSubmitted, TokenApplicationSubmitted)

log = structlog.get_logger()


class Enrolment:
    """The handlers of enrolment. Raise Unavailable, when the database could not be asked."""

    def __init__(self, *, service_root: bytes, routes: Routes) -> None:
        self._service_root = service_root
        self._routes = routes

    async def submitted(self, work: Work[ApplicationSubmitted]) -> None:
        """`application-submitted`: register the officer and ask the signer for a key under the sealed PIN."""
        await self._submitted(work, self._key_requested)

    async def token_submitted(self, work: Work[TokenApplicationSubmitted]) -> None:
        """`token-application-submitted`: register the officer and have the token's key certified."""
        await self._submitted(work, self._certificate_requested)

    async def certificate(self, work: Work[Certificate]) -> None:
        """`gpki.certificate.v1`: the officer has a credential, or no longer the right to it."""
        async with work.recording(*work.deliveries) as recording:
            for delivery in sorted(recording.deliveries, key=lambda item: item.event.user):
                recording.settle(delivery, await self._certified(recording.connection, delivery))

    async def _submitted(self, work: Work[S], next_step: Callable[[S], Emit]) -> None:
        async with work.recording(*work.deliveries) as recording:
            for delivery in sorted(recording.deliveries, key=lambda item: item.event.signed.application.user):
                fault = await self._unsigned(recording.connection, delivery)
                recording.settle(delivery, fault or await self._apply(recording.connection, delivery.event, next_step))

    async def _unsigned(self, connection: Connection, delivery: Delivery[S]) -> Outcome | None:
        """What becomes of what no two registrars signed: it ends no application, and frees its id for the true one."""
        signed = delivery.event.signed
        content = confirmation_input(signed.application)
        fault = await doubt(connection, delivery, signatures_of(signed), content, self._service_root)
        return fault or _unconfirmed(delivery.event)

    async def _apply(self, connection: Connection, event: S, next_step: Callable[[S], Emit]) -> Outcome:
        application = event.signed.application
        bound = log.bind(application=str(application.application))
        officer = await store.lock_officer(connection, application)
        accepted = await store.accepted_under(connection, application.application)
        if accepted is not None:
            return Done() if accepted == application else Poison("application-id-used")
        applied = apply(officer, application)
        if isinstance(applied, Refused):
            bound.warning("application refused", detail=applied.detail)
            return Done((Emit(self._routes.application_refused, _refusal(application, applied)),))
        await store.put_officer(connection, applied)
        await store.put_application(connection, application)
        bound.info("application accepted", version=applied.version)
        return Done((Emit(self._routes.user, user_state(applied)), next_step(event)))

    def _key_requested(self, event: ApplicationSubmitted) -> Emit:
        key_requested = KeyRequested(
            signed=event.signed,
            credential_id=credential_id_of(event.signed.application),
            sealing_key_id=event.sealing_key_id,
            sealed_pin=event.sealed_pin,
        )
        return Emit(self._routes.key_requested, key_requested)

    def _certificate_requested(self, event: TokenApplicationSubmitted) -> Emit:
        credential_id = credential_id_of(event.signed.application)
        requested = TokenCertificateRequested(signed=event.signed, credential_id=credential_id, csr=event.csr)
        return Emit(self._routes.token_certificate_requested, requested)

    async def _certified(self, connection: Connection, delivery: Delivery[Certificate]) -> Outcome:
        certificate = delivery.event
        application = await store.application_of(connection, certificate.credential_id)
        wanted = None if application is None else (application.user, medium_of(application))
        if application is None or wanted != (certificate.user, certificate.medium):
            return Poison("credential-unknown")
        before = await store.lock_officer(connection, application)
        seen = await store.see_certificate(connection, certificate.credential_id, certificate.version)
        if seen is None:
            return Done()
        after = certified(before, application, certificate, is_new=seen == 0)
        if after == before:
            return Done()
        await store.put_officer(connection, after)
        log.info("certificate seen", credential=str(certificate.credential_id), status=certificate.status)
        if after.version == before.version:
            return Done()
        return Done((Emit(self._routes.user, user_state(after)),))


def _unconfirmed(event: ApplicationSubmitted | TokenApplicationSubmitted) -> Poison | None:
    """A PIN, or a request for a certificate, that is not the one whose hash the registrars signed."""
    if isinstance(event, ApplicationSubmitted):
        return None if is_confirmed_pin(event.signed.application, event.sealed_pin) else Poison("pin-not-confirmed")
    is_confirmed = sha256(event.csr).hexdigest() == event.signed.application.csr_sha256
    return None if is_confirmed else Poison("csr-not-confirmed")


def _refusal(application: AnyApplication, refused: Refused) -> ApplicationRefused:
    return ApplicationRefused(
        application=application.application, user=application.user, stage=STAGE, detail=refused.detail
    )
