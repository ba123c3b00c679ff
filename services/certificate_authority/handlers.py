"""Events in, outcomes out: issuing, and publishing the keys of callers, registrars and producers."""

import asyncio
from datetime import timedelta
from typing import Final, TypeVar, assert_never

import structlog
from cryptography import x509

from libs.bus.administrators import signatures_of
from libs.bus.delivery import Delivery
from libs.bus.outcomes import Done, Emit, Outcome, Park, Poison
from libs.bus.work import Work
from libs.contracts.base import Event
from libs.contracts.cloudevents import event_id
from libs.contracts.enrolment import (
    CertificateRequested,
    TokenCertificateRequested,
)
from libs.contracts.topics import Topic
from libs.runtime.clock import Clock
from libs.storage import ledger
from libs.storage.pool import Connection
from services.certificate_authority import states, store
from services.certificate_authority.hsm_token import Token
from services.certificate_authority.issuance import (
    Order,
    Profile,
    Refused,
    Unsigned,
    Wanted,
    judge,
    new_serial,
    order_for,
    validity,
)
from services.certificate_authority.keys_topic import KeysTopic
from services.certificate_authority.routes import Routes
from services.certificate_authority.store import Reserved

KEYS_EVERY: Final = timedelta(minutes=1)
"""How often new keys of callers, registrars and producers are looked for: `init` may run beside the service."""

log = structlog.get_logger()


class KeysLook(Event):
    """Timer: publish the service keys that are not published yet. There is one, which never ends."""

    @property
    def key(self) -> str:
        return "keys"

    @property
    def uniqueness(self) -> tuple[object, ...]:
        return ()


C = TypeVar("C", CertificateRequested, TokenCertificateRequested)

KEYS_LOOK: Final = Topic("timer.certificate-authority.keys", KeysLook, "key")


class Handlers:
    """The handlers of certificate_authority, but for the CRLs' timer and what ends a certificate."""

    def __init__(
        self,
        *,
        token: Token,
        issuing: x509.Certificate,
        officer_validity: timedelta,
        crl_url: str,
        clock: Clock,
        routes: Routes,
        keys_topic: KeysTopic,
    ) -> None:
        self._token = token
        self._issuing = issuing
        self._officer_validity = officer_validity
        self._crl_url = crl_url
        self._clock = clock
        self._routes = routes
        self._keys_topic = keys_topic

    async def issue(self, work: Work[C]) -> None:
        """Reserve what a certificate will say, sign it in the HSM, record it.

        `certificate-requested` and `token-certificate-requested`. Raises Unavailable: what was reserved stays so, and
        the replay signs the same.
        """
        async with work.reserving() as connection:
            named = {one.key_id for delivery in work.deliveries for one in signatures_of(delivery.event.signed)}
            registrars = await store.registrars(connection, list(named), self._clock())
        judged = await asyncio.to_thread(lambda: [(d, judge(d.event, registrars)) for d in work.deliveries])
        answers: list[tuple[Delivery[C], Reserved | Refused | Unsigned]] = []
        async with work.reserving() as connection:
            # In one order everywhere, so that two replicas with crossing slices do not deadlock.
            for delivery, judgement in sorted(judged, key=lambda item: item[0].event.credential_id):
                answer = (
                    await store.reserve(connection, self._order(judgement))
                    if isinstance(judgement, Wanted)
                    else judgement
                )
                answers.append((delivery, answer))
        for delivery, answer in answers:
            signed = b""
            if isinstance(answer, Reserved):
                signed = answer.certificate or await self._token.sign_certificate(answer.order, self._issuing)
            async with work.recording(delivery) as recording:
                for claimed in recording.deliveries:
                    recording.settle(claimed, await self._outcome(recording.connection, claimed.event, answer, signed))

    async def publish_keys(self, work: Work[KeysLook]) -> None:
        """Publish every key's state; the ledger knows by the event ids which of them it published before.

        What it published and somebody wrote over on the compacted topic is published once more.
        """
        async with work.recording(*work.deliveries) as recording:
            said = [states.key_state(key) for key in await store.service_keys(recording.connection)]
            ids = [event_id(self._routes.keys, one) for one in said]
            before = await ledger.recorded(recording.connection, ids)
            for delivery in recording.deliveries:
                recording.emit(delivery, (Emit(self._routes.keys, one) for one in said))
                recording.settle(delivery, Park(KEYS_EVERY, "next look"))
        await work.publish(await self._keys_topic.written_over(before))

    def _order(self, wanted: Wanted) -> Order:
        return order_for(
            Profile.OFFICER,
            wanted.public_key,
            holder=str(wanted.credential_id),
            common_name=wanted.application.name,
            serial_number=wanted.application.user,
            serial=new_serial(),
            validity=validity(self._clock(), self._officer_validity, self._issuing),
            crl_url=self._crl_url,
            medium=wanted.medium,
        )

    async def _outcome(
        self,
        connection: Connection,
        event: CertificateRequested | TokenCertificateRequested,
        answer: Reserved | Refused | Unsigned,
        signed: bytes,
    ) -> Outcome:
        application, credential_id = event.signed.application, event.credential_id
        bound = log.bind(application=str(application.application), credential=str(credential_id))
        match answer:
            case Unsigned(why):
                return Poison(why)
            case Refused(detail):
                bound.warning("application refused", detail=detail)
                return Done((Emit(self._routes.application_refused, states.refusal(application, answer)),))
            case Reserved(order):
                der = await store.put_certificate(connection, order.serial, signed)
                bound.info("certificate issued", serial=order.serial.hex())
                assert order.medium is not None
                state = states.good(credential_id, application.user, order.medium, der, self._issuing)
                return Done((Emit(self._routes.certificate, state),))
            case _:
                assert_never(answer)
