"""From a sealed PIN and OTP to reserved documents: slot, challenge, time, OTP, PIN, decision (design section 4)."""

from dataclasses import dataclass, replace
from datetime import timedelta

import structlog

from libs.bus.delivery import Delivery
from libs.bus.outcomes import OVERTAKEN, Done, Outcome, Park, Poison, Rejected
from libs.bus.trust import usable_key, vouches
from libs.bus.work import Work
from libs.contracts.manifest import Commitment
from libs.contracts.reasons import Reason
from libs.contracts.signing import Authorisation, AuthorisationSubmitted
from libs.contracts.state import Key
from libs.crypto.challenge import Challenge
from libs.crypto.credential import WrongPin
from libs.crypto.sealing import PURPOSE_AUTHORISATION, SealError, open_sealed, sealing_info
from libs.crypto.secrets import Secrets, SecretsError
from libs.runtime import metrics
from libs.runtime.clock import Clock
from libs.storage import cancels, state
from libs.storage.pool import Connection
from services.hsm_signer import limits, store
from services.hsm_signer.authorisation import WRONG, Expected, Refused, attempts_left, ending, judge_otp, may_try
from services.hsm_signer.certificate import certificate_refusal
from services.hsm_signer.challenge_producers import ChallengeProducers
from services.hsm_signer.challenges import open_challenges
from services.hsm_signer.custody import Credential, Custody, OpenedKey
from services.hsm_signer.lanes import Lane
from services.hsm_signer.refusal import failed, failure, refuse_rest, rejected
from services.hsm_signer.sealing_keys import SealingKeys
from services.hsm_signer.signing import Authorised, Submission

log = structlog.get_logger()


@dataclass(frozen=True)
class Slot:
    """An attempt that may be tried, or goes on where it stopped (`request.attempt` is this attempt then)."""

    request: store.Request
    credential: Credential


@dataclass(frozen=True)
class Right:
    """OTP and PIN were both right."""

    challenge: Challenge
    key: OpenedKey
    renewed: Credential | None


class Authoriser:
    """Decides attempts. Parallel attempts of one credential meet at its row lock, in this and other replicas."""

    def __init__(
        self,
        custody: Custody,
        sealing_keys: SealingKeys,
        producers: ChallengeProducers,
        service_root: bytes,
        clock: Clock,
        *,
        reserve_within: timedelta = limits.RESERVE_WITHIN,
    ) -> None:
        self._custody = custody
        self._sealing_keys = sealing_keys
        self._producers = producers
        self._service_root = service_root
        self._clock = clock
        self._reserve_within = reserve_within

    async def authorise(
        self, work: Work[AuthorisationSubmitted], delivery: Submission, commitment: Commitment, lane: Lane
    ) -> Authorised | None:
        """The authorised request, to be signed now; None when the delivery was settled. Raises Unavailable."""
        async with work.reserving() as connection:
            slot = await self._slot(connection, delivery, commitment.root)
        if not isinstance(slot, Slot):
            await self._settle(work, delivery, slot, commitment.root)
            return None
        late = lane.outage_wait(delivery.appended_at) > self._reserve_within
        if late and slot.request.attempt is None:
            lane.is_late()
            await self._fail(work, delivery, Refused(Reason.AUTHORISATION_EXPIRED))
            return None
        verdict = await self._try(delivery, slot, commitment.root)
        if isinstance(verdict, Refused):
            await self._fail(work, delivery, verdict)
            return None
        return await self._reserve(work, delivery, slot, verdict, commitment)

    async def _slot(self, connection: Connection, delivery: Submission, root: bytes) -> Slot | Outcome:
        """Take a slot under the credential's row lock, or say what becomes of the delivery without one."""
        event = delivery.event
        header = event.signed.manifest.header
        key = await state.key(connection, event.signed.caller_key, "caller")
        if not await self._is_callers(connection, key, delivery, root):
            parked = _wait_once(delivery) if key is None else None
            return parked or Poison(Reason.CALLER_SIGNATURE_INVALID)
        user = await state.user(connection, header.user)
        credential_id = None if user is None else user.credential_id
        kept = None if credential_id is None else await store.lock_credential(connection, credential_id)
        if credential_id is None or kept is None:
            return _wait_once(delivery) or rejected(header, Reason.CREDENTIAL_UNKNOWN)
        await store.add_request(
            connection, header, credential_id=credential_id, root=root, requested_at=delivery.appended_at
        )
        request = await store.lock_request(connection, header.request_id)
        assert request is not None
        if request.root != root:
            return Poison(f"{Reason.ID_CONFLICT}: another root under this request")
        answer = await self._standing(connection, delivery, request, kept)
        if answer is not None:
            return answer
        if kept.credential is None:
            return rejected(header, Reason.CERTIFICATE_REVOKED)
        await store.take_slot(connection, request.request_id, credential_id, event.attempt)
        return Slot(request, kept.credential)

    async def _is_callers(self, connection: Connection, key: Key | None, delivery: Submission, root: bytes) -> bool:
        event, header = delivery.event, delivery.event.signed.manifest.header
        request = await store.read_request(connection, header.request_id)
        # As of the request: a key that is retired meanwhile strands nobody who has a code already.
        at = request.requested_at if request is not None and request.root == root else delivery.appended_at
        caller = usable_key(key, self._service_root, at)
        genuine = vouches(caller, caller=header.caller, root=root, signature=event.signed.signature)
        return genuine and caller is not None and caller.unit == header.system and event.request_id == header.request_id

    async def _standing(  # noqa: PLR0911 (each return is one answer of a closed list)
        self, connection: Connection, delivery: Submission, request: store.Request, kept: store.Kept
    ) -> Outcome | None:
        """Why this attempt is not to be tried now; None: try it, or go on with it."""
        attempt = delivery.event.attempt
        if request.attempt == attempt:
            return None
        if request.end_reason is not None or request.attempt is not None:
            return failed(delivery, Refused(request.end_reason or Reason.OTP_USED))
        head = request.header
        if await cancels.wait(connection, request.request_id, caller=head.caller, user=head.user):
            return rejected(head, Reason.CANCELLED)  # this attempt has overtaken `medium-resolved`
        assert request.credential_id is not None
        certificate = (await state.certificates(connection, [request.credential_id])).get(request.credential_id)
        refusal = certificate_refusal(certificate, self._clock())
        if refusal is not None:
            parked = _wait_once(delivery) if refusal is Reason.CERTIFICATE_UNKNOWN else None
            return parked or rejected(request.header, refusal)
        known = await store.attempt_state(connection, request.request_id, attempt)
        if known in WRONG:
            return failed(delivery, Refused(WRONG[known]))
        counts = await store.counts(connection, request, kept, attempt)
        answer = known == "pending" or may_try(counts)
        if answer is False:
            return Park(limits.SLOT_WAIT, "other attempts of this credential are being tried")
        if answer is not True:
            until = counts.held_until if answer is Reason.OTP_HELD else None
            told = failure(delivery, Refused(answer, held_until=until), None)
            return rejected(request.header, answer, told, held_until=until)
        return None

    async def _try(self, delivery: Submission, slot: Slot, root: bytes) -> Right | Refused:
        """Challenge, time, OTP, and only then Argon2 and PIN. Raises Unavailable; the slot stays taken then."""
        event = delivery.event
        request_id = str(event.request_id)
        private = await self._sealing_keys.private_key(event.sealing_key_id)
        if private is None:
            return Refused(Reason.SEAL_EXPIRED)
        try:
            info = sealing_info(PURPOSE_AUTHORISATION, request_id, root, event.sealing_key_id)
            secrets = Secrets.decode(open_sealed(event.sealed, private, info))
        except (SealError, SecretsError):
            return Refused(Reason.SEAL_INVALID)
        credential = slot.credential
        expected = Expected(event.request_id, credential.user_id, credential.credential_id, root)
        challenges = await open_challenges(event, root, sealing_keys=self._sealing_keys, producers=self._producers)
        judged = judge_otp(challenges, secrets.otp, expected=expected, submitted_at=delivery.appended_at)
        if isinstance(judged, Refused):
            return judged
        try:
            opened = await self._custody.open(credential, secrets.pin)
        except WrongPin:
            return Refused(Reason.PIN_INCORRECT, judged.reference_code)
        return Right(judged, opened, await self._custody.renewed(credential, secrets.pin, opened))

    async def _reserve(
        self,
        work: Work[AuthorisationSubmitted],
        delivery: Submission,
        slot: Slot,
        right: Right,
        commitment: Commitment,
    ) -> Authorised | None:
        """In one transaction: the attempt was right, the request is authorised, all its documents are reserved."""
        event, credential = delivery.event, slot.credential
        async with work.reserving() as connection:
            await store.lock_credential(connection, credential.credential_id)
            request = await store.lock_request(connection, event.request_id)
            assert request is not None
            if request.attempt is None and request.end_reason is None:
                await store.decide_attempt(connection, event.request_id, event.attempt, "right")
                await store.authorise(
                    connection,
                    request,
                    attempt=event.attempt,
                    reserved_at=self._clock(),
                    channel=right.challenge.channel,
                    reference_code=right.challenge.reference_code,
                    documents=[document.id for document in event.signed.manifest.documents],
                )
                if right.renewed is not None:
                    await store.seal_again(connection, credential, right.renewed)
                request = await store.lock_request(connection, event.request_id)
                assert request is not None
        if request.attempt != event.attempt:
            await self._fail(work, delivery, Refused(request.end_reason or Reason.OTP_USED))
            return None
        assert request.reserved_at is not None
        return Authorised(
            manifest=event.signed.manifest,
            commitment=commitment,
            credential_id=credential.credential_id,
            key=right.key,
            reserved_at=request.reserved_at,
            authorisation=Authorisation.model_validate(
                {"channel": request.channel, "reference_code": request.reference_code}
            ),
        )

    async def _fail(self, work: Work[AuthorisationSubmitted], delivery: Submission, refused: Refused) -> None:
        """Count what counts, and answer; the limit that this reaches ends the request."""
        event = delivery.event
        header = event.signed.manifest.header
        async with work.recording(delivery) as recording:
            for claimed in recording.deliveries:
                connection = recording.connection
                found = await store.read_request(connection, event.request_id)
                assert found is not None
                assert found.credential_id is not None
                kept = await store.lock_credential(connection, found.credential_id)
                request = await store.lock_request(connection, event.request_id)
                assert kept is not None
                assert request is not None
                if request.attempt == event.attempt:
                    # Authorised before, and what it needs is gone: the seal's key, or the wrapped key.
                    rest = await refuse_rest(connection, header, Reason.AUTHORISATION_EXPIRED)
                    recording.settle(claimed, rest)
                    continue
                decided = await store.decide_attempt(connection, event.request_id, event.attempt, refused.state)
                counts = await store.counts(connection, request, kept, event.attempt)
                if decided and refused.reason is Reason.OTP_INCORRECT:
                    counts = await store.count_wrong_otp(connection, request, counts)
                elif decided and refused.reason is Reason.PIN_INCORRECT:
                    counts = await store.count_wrong_pin(connection, request)
                end = ending(counts) if refused.counted else None
                end = end or (refused.reason if refused.reason is Reason.AUTHORISATION_EXPIRED else None)
                until = counts.held_until if decided and end is Reason.OTP_HELD else None
                told = failure(delivery, replace(refused, held_until=until), attempts_left(refused.reason, counts))
                log.info("authorisation failed", request_id=str(event.request_id), reason=refused.reason)
                if until is not None:
                    metrics.alarm("hsm_signer", Reason.OTP_HELD, request_id=str(event.request_id), until=str(until))
                if end is None or request.end_reason is not None or request.attempt is not None:
                    recording.settle(claimed, Done((told,)))
                    continue
                await store.end_request(connection, event.request_id, end)
                recording.settle(claimed, rejected(header, end, told, held_until=until))

    @staticmethod
    async def _settle(work: Work[AuthorisationSubmitted], delivery: Submission, outcome: Outcome, root: bytes) -> None:
        event, header = delivery.event, delivery.event.signed.manifest.header
        async with work.recording(delivery) as recording:
            for claimed in recording.deliveries:
                if not isinstance(outcome, Park | Poison):
                    # A slot that was taken before, and never tried, is given back; a forgery gives back nobody's.
                    await store.decide_attempt(recording.connection, event.request_id, event.attempt, "void")
                settled = outcome
                if isinstance(outcome, Rejected):
                    # An end needs its row, also when nothing of this request was kept before.
                    await store.add_request(
                        recording.connection, header, credential_id=None, root=root, requested_at=delivery.appended_at
                    )
                    request = await store.lock_request(recording.connection, event.request_id)
                    assert request is not None
                    if request.attempt == event.attempt:
                        settled = await refuse_rest(recording.connection, request.header, outcome.event.reason)
                    elif request.attempt is not None or request.end_reason is not None:
                        settled = failed(delivery, Refused(request.end_reason or Reason.OTP_USED))
                    else:
                        await store.end_request(recording.connection, event.request_id, outcome.event.reason)
                recording.settle(claimed, settled)


def _wait_once(delivery: Delivery[AuthorisationSubmitted]) -> Park | None:
    """State that is not here yet is waited for, once."""
    return None if delivery.parked else Park(OVERTAKEN, "user, certificate or caller's key not known yet")
