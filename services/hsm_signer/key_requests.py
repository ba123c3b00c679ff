"""`key-requested`: a new key pair under the officer's PIN (preparation slides, 6 to 8)."""

from typing import Final

from libs.bus.administrators import doubt, signatures_of
from libs.bus.delivery import Delivery
from libs.bus.outcomes import Done, Emit, Outcome, Poison
from libs.bus.work import Work
from libs.contracts import topics
from libs.contracts.enrolment import (
    ApplicationRefused,
    CertificateRequested,
    KeyRequested,
    confirmation_input,
    credential_id_of,
    is_confirmed_pin,
)
from libs.contracts.reasons import Reason
from libs.crypto.pin_policy import is_weak
from libs.crypto.sealing import PURPOSE_ENROLMENT_PIN, SealError, open_sealed, sealing_info
from libs.crypto.secrets import SecretsError, decode_pin
from libs.storage.pool import Connection
from services.hsm_signer import store
from services.hsm_signer.custody import Custody, NewCredential
from services.hsm_signer.hsm import hsm_unavailable
from services.hsm_signer.sealing_keys import SealingKeys

PIN_NOT_CONFIRMED: Final = "pin-not-confirmed"

Requested = Delivery[KeyRequested]


class KeyRequests:
    """Makes keys one after another: each takes the HSM 150 ms."""

    def __init__(self, custody: Custody, sealing_keys: SealingKeys, service_root: bytes) -> None:
        self._custody = custody
        self._sealing_keys = sealing_keys
        self._service_root = service_root

    async def handle(self, work: Work[KeyRequested]) -> None:
        """Answer each with a request for its certificate, or a refusal. Raises Unavailable."""
        for delivery in work.deliveries:
            if not work.out_of_time:
                with hsm_unavailable():
                    await self._answer(work, delivery)

    async def _answer(self, work: Work[KeyRequested], delivery: Requested) -> None:
        async with work.reserving() as connection:
            answer: Outcome | NewCredential | None = await self._refusal(connection, delivery)
        if answer is None:
            answer = await self._made(delivery.event)
        async with work.recording(delivery) as recording:
            for claimed in recording.deliveries:
                if isinstance(answer, NewCredential):
                    event = delivery.event
                    await store.add_credential(recording.connection, answer.credential)
                    request = CertificateRequested(
                        signed=event.signed, credential_id=event.credential_id, csr=answer.csr
                    )
                    recording.settle(claimed, Done((Emit(topics.CERTIFICATE_REQUESTED, request),)))
                else:
                    recording.settle(claimed, answer)

    async def _refusal(self, connection: Connection, delivery: Requested) -> Outcome | None:
        """Why there is no key for this. What no two registrars signed refuses nobody's application."""
        event = delivery.event
        content = confirmation_input(event.signed.application)
        fault = await doubt(connection, delivery, signatures_of(event.signed), content, self._service_root)
        if fault is not None:
            return fault
        if not is_confirmed_pin(event.signed.application, event.sealed_pin):
            return Poison(PIN_NOT_CONFIRMED)  # put there by who handed the application on: enrolment, too, may be that
        exists = await store.has_credential(connection, event.credential_id)
        if exists or event.credential_id != credential_id_of(event.signed.application):
            return _refused(event, "the credential exists already, or is not this application's")
        return None

    async def _made(self, event: KeyRequested) -> NewCredential | Done:
        pin = await _opened_pin(event, self._sealing_keys)
        if isinstance(pin, Reason):
            return _refused(event, _DETAIL[pin], pin)
        application = event.signed.application
        return await self._custody.create(
            pin, credential_id=event.credential_id, user_id=application.user, algorithm=application.algorithm
        )


_DETAIL = {
    Reason.SEAL_EXPIRED: "the key that the PIN is sealed to was replaced",
    Reason.SEAL_INVALID: "the sealed PIN cannot be opened",
    Reason.PIN_TOO_WEAK: "the PIN is not of 8 to 64 characters, or too easy to guess",
}


async def _opened_pin(event: KeyRequested, sealing_keys: SealingKeys) -> str | Reason:
    """The PIN, or why no key is made under it. What the officer's own side judged before counts for nothing here."""
    private = await sealing_keys.private_key(event.sealing_key_id)
    if private is None:
        return Reason.SEAL_EXPIRED
    user = event.signed.application.user
    info = sealing_info(PURPOSE_ENROLMENT_PIN, user, str(event.credential_id), event.sealing_key_id)
    try:
        pin = decode_pin(open_sealed(event.sealed_pin, private, info))
    except SealError:
        return Reason.SEAL_INVALID
    except SecretsError:
        return Reason.PIN_TOO_WEAK
    return Reason.PIN_TOO_WEAK if is_weak(pin, user=user) else pin


def _refused(event: KeyRequested, detail: str, reason: Reason | None = None) -> Done:
    application = event.signed.application
    answer = ApplicationRefused(
        application=application.application,
        user=application.user,
        stage="hsm_signer",
        detail=detail,
        reason=reason,
    )
    return Done((Emit(topics.APPLICATION_REFUSED, answer),))
