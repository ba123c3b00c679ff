"""The rule of explanations: what a person reads for each failure, refusal and wait, so that no screen needs texts."""

from datetime import datetime
from zoneinfo import ZoneInfo

from libs.contracts.reasons import Reason
from libs.contracts.signing import Stage
from libs.contracts.texts import Language, Text, notice_text, text, waiting_text
from services.gateway.schemas import Dispatch, Explanation, Failure, Rejection, SigningStatus, Wait

_AFTER_SIGNING: frozenset[Stage] = frozenset({"crl_verifier", "posting"})
"""What these refuse was signed, and is not posted."""

_UNSIGNED = frozenset({Reason.EXPIRED, Reason.CANCELLED})
"""But for a token's request that ended before its documents were signed."""

_NOT_SAID = "–"
"""Where a text counts attempts, or names a time, and the event does not."""

_MALAYSIA = ZoneInfo("Asia/Kuala_Lumpur")


def explained(status: SigningStatus, language: Language) -> SigningStatus:
    """The same status with an explanation of all that needs one. About 10 µs each: off the event loop."""
    result = status.completed
    if result is not None:
        # `completed` counts outcomes; when a hold ends stands in what its stage said.
        held = {(one.stage, one.reason): one.held_until for one in status.rejections}
        rejected = tuple(
            one.model_copy(
                update={
                    "explanation": explain(
                        one.reason, language, stage=one.stage, held_until=held.get((one.stage, one.reason))
                    )
                }
            )
            for one in result.rejected
        )
        result = result.model_copy(update={"rejected": rejected})
    told = {
        "dispatches": tuple(_dispatch(one, language) for one in status.dispatches),
        "failures": tuple(_failure(one, language) for one in status.failures),
        "rejections": tuple(_rejection(one, language) for one in status.rejections),
        "waits": tuple(_wait(one, language) for one in status.waits),
        "completed": result,
    }
    return status.model_copy(update=told)


def explained_row(kind: str, data: str, language: Language) -> str:
    """The data of a row: of a failure, refusal or wait with its explanation. For those of the end see the status."""
    match kind:
        case "otp-dispatched":
            return _dispatch(Dispatch.model_validate_json(data), language).model_dump_json()
        case "authorisation-failed":
            return _failure(Failure.model_validate_json(data), language).model_dump_json()
        case "rejected":
            return _rejection(Rejection.model_validate_json(data), language).model_dump_json()
        case "waiting":
            return _wait(Wait.model_validate_json(data), language).model_dump_json()
        case _:
            return data


def _dispatch(one: Dispatch, language: Language) -> Dispatch:
    """Of a code that went where an officer with a newer address may not look."""
    if one.new_address_from is None:
        return one
    said = notice_text("new-address", language, works_from=_shown(one.new_address_from), place=one.destination)
    return one.model_copy(update={"explanation": _of_wait(said, language, signed=False)})


def _failure(one: Failure, language: Language) -> Failure:
    said = explain(one.reason, language, attempts_left=one.attempts_left, held_until=one.held_until)
    return one.model_copy(update={"explanation": said})


def _rejection(one: Rejection, language: Language) -> Rejection:
    said = explain(one.reason, language, stage=one.stage, held_until=one.held_until)
    return one.model_copy(update={"explanation": said})


def _wait(one: Wait, language: Language) -> Wait:
    said = waiting_text(one.why, language)
    if said is None:
        return one
    return one.model_copy(update={"explanation": _of_wait(said, language, signed=one.stage in _AFTER_SIGNING)})


def _of_wait(said: Text, language: Language, *, signed: bool) -> Explanation:
    return Explanation(
        language=language,
        title=said.title,
        detail=said.detail,
        next_step=said.next_step,
        signed=signed,
        posted=False,
        lock_ends=None,
    )


def explain(
    reason: Reason,
    language: Language,
    *,
    stage: Stage = "hsm_signer",
    attempts_left: int | None = None,
    held_until: datetime | None = None,
) -> Explanation:
    """What a reason means for the documents that `stage` refused, or for an attempt, which signs nothing."""
    said = text(
        reason,
        language,
        attempts_left=_NOT_SAID if attempts_left is None else attempts_left,
        held_until=_NOT_SAID if held_until is None else _shown(held_until),
    )
    return Explanation(
        language=language,
        title=said.title,
        detail=said.detail,
        next_step=said.next_step,
        signed=stage in _AFTER_SIGNING and reason not in _UNSIGNED,
        posted=False,
        lock_ends="two-administrators" if reason is Reason.PIN_LOCKED else None,
        held_until=held_until,
    )


def _shown(at: datetime) -> str:
    return f"{at.astimezone(_MALAYSIA):%H:%M, %d/%m/%Y}"
