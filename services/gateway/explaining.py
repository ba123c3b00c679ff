"""The rule of explanations: what a person reads for each failure and refusal in a status, so no screen needs texts."""

from libs.contracts.reasons import Reason
from libs.contracts.signing import Stage
from libs.contracts.texts import Language, text, waiting_text
from services.gateway.schemas import Explanation, SigningStatus, Wait

_AFTER_SIGNING: frozenset[Stage] = frozenset({"crl_verifier", "posting"})
"""What these refuse was signed, and is not posted."""

_UNSIGNED = frozenset({Reason.EXPIRED, Reason.CANCELLED})
"""But for a token's request that ended before its documents were signed."""

_NOT_SAID = "–"
"""Where a text counts attempts and the event does not."""


def explained(status: SigningStatus, language: Language) -> SigningStatus:
    """The same status with an explanation of every failure, refusal and wait. About 10 µs each: off the event loop."""
    failures = tuple(
        one.model_copy(update={"explanation": explain(one.reason, language, attempts_left=one.attempts_left)})
        for one in status.failures
    )
    rejections = tuple(
        one.model_copy(update={"explanation": explain(one.reason, language, stage=one.stage)})
        for one in status.rejections
    )
    result = status.completed
    if result is not None:
        rejected = tuple(
            one.model_copy(update={"explanation": explain(one.reason, language, stage=one.stage)})
            for one in result.rejected
        )
        result = result.model_copy(update={"rejected": rejected})
    waits = tuple(one.model_copy(update={"explanation": _of_wait(one, language)}) for one in status.waits)
    told = {"failures": failures, "rejections": rejections, "completed": result, "waits": waits}
    return status.model_copy(update=told)


def _of_wait(wait: Wait, language: Language) -> Explanation | None:
    said = waiting_text(wait.why, language)
    if said is None:
        return None
    return Explanation(
        language=language,
        title=said.title,
        detail=said.detail,
        next_step=said.next_step,
        signed=wait.stage in _AFTER_SIGNING,
        posted=False,
        lock_ends=None,
    )


def explain(
    reason: Reason, language: Language, *, stage: Stage = "hsm_signer", attempts_left: int | None = None
) -> Explanation:
    """What a reason means for the documents that `stage` refused, or for an attempt, which signs nothing."""
    said = text(reason, language, attempts_left=_NOT_SAID if attempts_left is None else attempts_left)
    return Explanation(
        language=language,
        title=said.title,
        detail=said.detail,
        next_step=said.next_step,
        signed=stage in _AFTER_SIGNING and reason not in _UNSIGNED,
        posted=False,
        lock_ends="new-certificate" if reason is Reason.PIN_LOCKED else None,
    )
