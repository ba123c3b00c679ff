"""`pin-change-submitted`: the officer's key under another PIN (design section 4.9).

In the order of an authorisation: the second factor, here the signature of the officer's own GPKI Mobile, and only then
the PIN. A PIN is neither tried nor counted without it, and e-mail changes none.
"""

from hashlib import sha256

import structlog
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from libs.bus.delivery import Delivery
from libs.bus.outcomes import OVERTAKEN, Done, Emit, Outcome, Park, Poison
from libs.bus.work import Work
from libs.contracts import topics
from libs.contracts.pin import PinAnswered, PinChangeSubmitted, pin_change_signature_input
from libs.contracts.reasons import Reason
from libs.contracts.state import Device
from libs.crypto.credential import WrongPin
from libs.crypto.pin_policy import is_weak
from libs.crypto.sealing import PURPOSE_PIN_CHANGE, SealError, open_sealed, sealing_info
from libs.crypto.secrets import SecretsError, decode_pin, decode_pin_change
from libs.crypto.signatures import verify
from libs.runtime.clock import Clock
from libs.storage import state
from libs.storage.pool import Connection
from services.hsm_signer import limits, store
from services.hsm_signer.authorisation import may_try
from services.hsm_signer.certificate import certificate_refusal
from services.hsm_signer.custody import Credential, Custody
from services.hsm_signer.hsm import hsm_unavailable
from services.hsm_signer.sealing_keys import SealingKeys

Submitted = Delivery[PinChangeSubmitted]

log = structlog.get_logger()


class PinChanges:
    """Changes PINs one after another. Attempts of one credential meet at its row lock, those to sign among them."""

    def __init__(self, custody: Custody, sealing_keys: SealingKeys, clock: Clock) -> None:
        self._custody = custody
        self._sealing_keys = sealing_keys
        self._clock = clock

    async def handle(self, work: Work[PinChangeSubmitted]) -> None:
        """Answer each with `pin-answered`, once. Raises Unavailable; the slot stays taken then."""
        for delivery in work.deliveries:
            if not work.out_of_time:
                with hsm_unavailable():
                    await self._change(work, delivery)

    async def _change(self, work: Work[PinChangeSubmitted], delivery: Submitted) -> None:
        async with work.reserving() as connection:
            slot = await self._slot(connection, delivery)
        verdict = await self._try(delivery, slot) if isinstance(slot, Credential) else None
        async with work.recording(delivery) as recording:
            for claimed in recording.deliveries:
                if isinstance(slot, Credential):
                    assert verdict is not None
                    recording.settle(claimed, await _decide(recording.connection, delivery, slot, verdict))
                else:
                    if isinstance(slot, Done):
                        # A slot that was taken before a crash, and is not tried now, is given back.
                        wish = delivery.event.change
                        await store.decide_attempt(recording.connection, wish.change, wish.sealed_sha256, "void")
                    recording.settle(claimed, slot)

    async def _slot(  # noqa: PLR0911 (each return is one answer of a closed list)
        self, connection: Connection, delivery: Submitted
    ) -> Credential | Outcome:
        """Take a slot under the credential's row lock, or say what becomes of the delivery without one."""
        event, change = delivery.event, delivery.event.change
        user = await state.user(connection, change.user)
        if user is None or not _is_devices(user.device, event):
            # The device may be registered this minute. What no device of the officer signed is not the officer's.
            return Park(OVERTAKEN, "device-unknown") if delivery.parked is None else Poison("device-signature-invalid")
        kept = await store.lock_credential(connection, change.credential_id)
        if kept is None or user.credential_id != change.credential_id:
            return _refused(event, Reason.CREDENTIAL_UNKNOWN)
        if kept.credential is None:
            return _refused(event, Reason.CERTIFICATE_REVOKED)
        certificate = (await state.certificates(connection, [change.credential_id])).get(change.credential_id)
        refusal = certificate_refusal(certificate, self._clock())
        if refusal is not None:
            return _refused(event, refusal)
        attempt = change.sealed_sha256
        known = await store.attempt_state(connection, change.change, attempt)
        if known in {"right", "wrong-pin"}:
            return Done()  # answered when it was decided: a replay tries nothing
        counts = await store.counts_of_change(connection, kept, change.credential_id, change.change, attempt)
        answer = known == "pending" or may_try(counts)
        if answer is False:
            return Park(limits.SLOT_WAIT, "other attempts of this credential are being tried")
        if answer is not True:
            return _refused(event, answer)
        await store.take_slot(connection, change.change, change.credential_id, attempt)
        return kept.credential

    async def _try(self, delivery: Submitted, credential: Credential) -> Credential | Reason:
        """The key under the new PIN, or why not. The new PIN is judged first: a weak one costs no attempt."""
        event, change = delivery.event, delivery.event.change
        private = await self._sealing_keys.private_key(change.sealing_key_id)
        if private is None:
            return Reason.SEAL_EXPIRED
        place = (str(change.change), change.user, str(change.credential_id), change.sealing_key_id)
        try:
            old, encoded = decode_pin_change(
                open_sealed(event.sealed, private, sealing_info(PURPOSE_PIN_CHANGE, *place))
            )
        except (SealError, SecretsError):
            return Reason.SEAL_INVALID
        try:
            new = decode_pin(encoded)
        except SecretsError:
            return Reason.PIN_TOO_WEAK
        if is_weak(new, user=change.user):
            return Reason.PIN_TOO_WEAK
        try:
            opened = await self._custody.open(credential, old)
        except WrongPin:
            return Reason.PIN_INCORRECT
        return await self._custody.seal_again(credential, new, opened)


async def _decide(
    connection: Connection, delivery: Submitted, credential: Credential, verdict: Credential | Reason
) -> Outcome:
    event, change = delivery.event, delivery.event.change
    await store.lock_credential(connection, change.credential_id)
    if isinstance(verdict, Credential):
        if not await store.seal_again(connection, credential, verdict):
            # Sealed again meanwhile by a right PIN, or destroyed: it is tried again with what is kept now.
            return Park(limits.SLOT_WAIT, "the credential changed while its PIN was tried")
        await store.decide_attempt(connection, change.change, change.sealed_sha256, "right")
        await store.forget_wrong_pins(connection, change.credential_id)
        log.info("PIN changed", change=str(change.change), credential=str(change.credential_id))
        return _answered(event, "changed")
    wrong = verdict is Reason.PIN_INCORRECT
    decided = await store.decide_attempt(
        connection, change.change, change.sealed_sha256, "wrong-pin" if wrong else "void"
    )
    log.info("PIN not changed", change=str(change.change), reason=verdict)
    if not (wrong and decided):
        return _refused(event, verdict)
    in_a_row = await store.count_wrong_pin_in_a_row(connection, change.credential_id)
    left = limits.WRONG_PINS_IN_A_ROW - in_a_row
    return _refused(event, Reason.PIN_LOCKED) if left <= 0 else _refused(event, verdict, left)


def _is_devices(device: Device | None, event: PinChangeSubmitted) -> bool:
    """Whether the officer's registered device signed this very change."""
    if device is None or event.change.device_id != device.device_id:
        return False
    key = Ed25519PublicKey.from_public_bytes(device.signing_key)
    genuine = verify(key, event.signature, pin_change_signature_input(event.change))
    return genuine and event.change.sealed_sha256 == sha256(event.sealed).hexdigest()


def _refused(event: PinChangeSubmitted, reason: Reason, left: int | None = None) -> Done:
    return _answered(event, "refused", reason, left)


def _answered(event: PinChangeSubmitted, result: str, reason: Reason | None = None, left: int | None = None) -> Done:
    answer = PinAnswered.model_validate(
        {
            "answers": event.change.change,
            "credential_id": event.change.credential_id,
            "user": event.change.user,
            "result": result,
            "reason": reason,
            "attempts_left": left,
        }
    )
    return Done((Emit(topics.PIN_ANSWERED, answer),))
