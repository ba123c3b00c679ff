"""What becomes of a certificate once it was issued: suspended by one registrar, lifted by two, revoked for good."""

from collections.abc import Iterable
from datetime import timedelta
from functools import partial
from typing import Any, Final
from uuid import UUID

import structlog
from cryptography import x509

from libs.bus.administrators import NOT_TWO, in_time
from libs.bus.delivery import Delivery
from libs.bus.outcomes import Done, Emit, Outcome, Park, Poison
from libs.bus.trust import confirmed_by_two
from libs.bus.work import Recording, Work
from libs.contracts.cloudevents import event_id
from libs.contracts.enrolment import RevocationRequested, revocation_signature_input
from libs.contracts.state import Certificate
from libs.contracts.suspension import (
    LiftingRequested,
    SuspensionRequested,
    lifting_signature_input,
    suspension_signature_input,
)
from libs.crypto.service_certificates import ServiceIdentity
from libs.crypto.signatures import verify
from libs.runtime.clock import Clock
from services.certificate_authority import states, store
from services.certificate_authority.crls import CRL_LOOK, CrlLook
from services.certificate_authority.routes import Routes
from services.certificate_authority.store import Officer

PENDING: Final = timedelta(seconds=5)
"""How long an order waits for a certificate, or for the suspension that it lifts, that is not there yet."""

log = structlog.get_logger()

Registrars = dict[str, ServiceIdentity]


class Standing:
    """The handlers of orders. Each is said at once; the CRL follows as soon as the HSM makes it."""

    def __init__(self, *, issuing: x509.Certificate, clock: Clock, routes: Routes) -> None:
        self._issuing = issuing
        self._clock = clock
        self._routes = routes

    async def revoke(self, work: Work[RevocationRequested]) -> None:
        """`revocation-requested`: final."""
        registrars = await self._registrars(work, (d.event.registrar_key for d in work.deliveries))
        await work.settle_each(partial(self._revocation, registrars))

    async def suspend(self, work: Work[SuspensionRequested]) -> None:
        """`suspension-requested`: also of what is suspended, so that no lifting is followed that did not know of it."""
        registrars = await self._registrars(work, (d.event.registrar_key for d in work.deliveries))
        await work.settle_each(partial(self._suspension, registrars))

    async def lift(self, work: Work[LiftingRequested]) -> None:
        """`lifting-requested`: the suspended state that it names, while that is the newest."""
        named = (one.key_id for delivery in work.deliveries for one in delivery.event.signed.signatures)
        registrars = await self._registrars(work, named)
        await work.settle_each(partial(self._lifting, registrars))

    async def _revocation(
        self, registrars: Registrars, recording: Recording[RevocationRequested], delivery: Delivery[RevocationRequested]
    ) -> Outcome:
        order = delivery.event.revocation
        signed = revocation_signature_input(order)
        officer = await self._ordered(recording, delivery, order.credential_id, signed, registrars)
        if not isinstance(officer, Officer):
            return officer
        now = self._clock().replace(microsecond=0)
        reason = x509.ReasonFlags[order.reason.replace("-", "_")]
        await store.revoke(recording.connection, order.credential_id, now, reason)
        state = self._issued(order.credential_id, officer)
        log.warning("certificate revoked", credential=str(order.credential_id), reason=order.reason)
        return await self._said(recording, states.revoked(state, officer.version + 1, now))

    async def _suspension(
        self, registrars: Registrars, recording: Recording[SuspensionRequested], delivery: Delivery[SuspensionRequested]
    ) -> Outcome:
        event, order = delivery.event, delivery.event.suspension
        signed = suspension_signature_input(order)
        officer = await self._ordered(recording, delivery, order.credential_id, signed, registrars)
        if not isinstance(officer, Officer):
            return officer
        connection, credential_id = recording.connection, order.credential_id
        if not await store.keep_suspension(connection, order.suspension, credential_id, event.registrar_key):
            return Done()  # followed before: a replay takes back no lifting
        since = await store.suspend(connection, credential_id, self._clock().replace(microsecond=0))
        state = self._issued(credential_id, officer)
        log.warning("certificate suspended", credential=str(credential_id), version=officer.version + 1)
        return await self._said(recording, states.suspended(state, officer.version + 1, since))

    async def _lifting(
        self, registrars: Registrars, recording: Recording[LiftingRequested], delivery: Delivery[LiftingRequested]
    ) -> Outcome:
        signed, order = delivery.event.signed, delivery.event.signed.lifting
        pairs = [(registrars.get(one.key_id), one.signature) for one in signed.signatures]
        if not confirmed_by_two(pairs, lifting_signature_input(order)):
            return Poison(NOT_TWO)
        if not in_time(order.ordered_at, delivery.appended_at):
            return Poison("order-out-of-date")
        officer = await self._officer(recording, delivery, order.credential_id)
        if not isinstance(officer, Officer):
            return officer
        if order.version > officer.version and delivery.parked is None:
            return Park(PENDING, "suspension-unknown")
        if officer.suspended_at is None or order.version != officer.version:
            return Poison("not-the-newest-suspension")
        now = self._clock().replace(microsecond=0)
        await store.lift(recording.connection, order.credential_id)
        state = self._issued(order.credential_id, officer)
        log.warning("suspension lifted", credential=str(order.credential_id), version=officer.version + 1)
        return await self._said(recording, states.lifted(state, officer.version + 1, now, signed))

    async def _registrars(self, work: Work[Any], key_ids: Iterable[str]) -> Registrars:
        async with work.reserving() as connection:
            return await store.registrars(connection, list(key_ids), self._clock())

    async def _ordered(
        self,
        recording: Recording[Any],
        delivery: Delivery[RevocationRequested] | Delivery[SuspensionRequested],
        credential_id: UUID,
        signed: bytes,
        registrars: Registrars,
    ) -> Officer | Outcome:
        """Whose certificate one registrar's order is about, or what becomes of the order."""
        registrar = registrars.get(delivery.event.registrar_key)
        if registrar is None or not verify(registrar.public_key, delivery.event.signature, signed):
            return Poison("registrar-signature-invalid")
        return await self._officer(recording, delivery, credential_id)

    async def _officer(
        self, recording: Recording[Any], delivery: Delivery[Any], credential_id: UUID
    ) -> Officer | Outcome:
        officer = await store.officer_for_update(recording.connection, credential_id)
        if officer is None:
            # It may have overtaken the request for the certificate; if not, a person must look.
            return Park(PENDING, "credential-unknown") if delivery.parked is None else Poison("credential-unknown")
        if officer.revoked_at is not None:
            return Done()  # final, whatever is ordered after it
        return Park(PENDING, "certificate-pending") if officer.certificate is None else officer

    def _issued(self, credential_id: UUID, officer: Officer) -> Certificate:
        assert officer.certificate is not None
        return states.good(credential_id, officer.user, officer.medium, officer.certificate, self._issuing)

    async def _said(self, recording: Recording[Any], state: Certificate) -> Done:
        look = CrlLook(issuer="issuing")
        await recording.set_timer(CRL_LOOK, look, request_id=event_id(CRL_LOOK, look), at=self._clock())
        return Done((Emit(self._routes.certificate, state),))
