"""Every failure and refusal of a status is explained in the language that was asked for; nothing of it is a guess."""

from datetime import UTC, datetime
from typing import Any, get_args

import pytest

from libs.contracts.reasons import Reason
from libs.contracts.signing import Stage
from libs.contracts.texts import LANGUAGES, Language, text
from services.gateway.explaining import explain, explained, explained_row
from services.gateway.schemas import Dispatch, NotPosted, Rejection
from services.gateway.status import status_of
from tests.unit.gateway.histories import header, history, read, stamped, told


@pytest.mark.parametrize("language", LANGUAGES)
def test_failures_rejections_and_the_result_carry_their_texts(language: Language) -> None:
    """I-30."""
    head = header(3)
    plain = status_of(told(read(stamped(history(head, posts=2)))))
    status = explained(plain, language)
    assert status.completed is not None
    found: list[Any] = [*status.failures, *status.rejections, *status.completed.rejected]
    assert len(found) == 4
    for one in found:
        assert one.explanation is not None
        assert one.explanation.language == language
        said = text(one.reason, language, attempts_left=getattr(one, "attempts_left", None))
        assert (one.explanation.title, one.explanation.next_step) == (said.title, said.next_step)
        assert one.explanation.detail == said.detail
    assert [f"{one.attempts_left}" in one.explanation.detail for one in status.failures if one.explanation] == [
        True
    ] * 2
    # What it says beside that is what it said before.
    assert plain.model_dump(exclude={"failures", "rejections", "completed"}) == status.model_dump(
        exclude={"failures", "rejections", "completed"}
    )
    before: list[Any] = [*plain.failures, *plain.rejections]
    assert all(one.explanation is None for one in before)


@pytest.mark.parametrize("reason", Reason)
@pytest.mark.parametrize("language", LANGUAGES)
def test_every_reason_can_be_explained_from_every_stage_and_never_says_posted(
    reason: Reason, language: Language
) -> None:
    for stage in get_args(Stage):
        found = explain(reason, language, stage=stage)
        assert found.title
        assert found.next_step
        assert "None" not in found.detail
        assert "{" not in found.detail
        assert not found.posted


def test_what_the_verifier_or_posting_refuses_was_signed_and_what_came_before_was_not() -> None:
    assert explain(Reason.CERTIFICATE_REVOKED, "en", stage="crl_verifier").signed
    assert explain(Reason.ALREADY_POSTED, "en", stage="posting").signed
    assert not explain(Reason.CERTIFICATE_REVOKED, "en", stage="hsm_signer").signed
    assert not explain(Reason.EXPIRED, "en", stage="crl_verifier").signed


@pytest.mark.parametrize(("language", "said"), [("en", "two administrators"), ("ms", "dua pentadbir")])
def test_a_locked_pin_says_what_ends_the_lock(language: Language, said: str) -> None:
    found = explain(Reason.PIN_LOCKED, language)
    assert found.lock_ends == "two-administrators"
    assert said in found.next_step
    assert [reason for reason in Reason if explain(reason, language).lock_ends] == [Reason.PIN_LOCKED]


@pytest.mark.parametrize(
    ("language", "said"),
    [("ms", "sehingga 00:30, 24/11/2026 (waktu Malaysia)"), ("en", "until 00:30, 24/11/2026 (Malaysia time)")],
)
def test_a_hold_says_when_it_ends_and_locks_nothing(language: Language, said: str) -> None:
    """I-45: in the refusal, and in the end of the request, which names no time itself."""
    until = datetime(2026, 11, 23, 16, 30, tzinfo=UTC)
    found = explain(Reason.OTP_HELD, language, held_until=until)
    assert said in found.detail
    assert (found.held_until, found.lock_ends) == (until, None)
    status = status_of(told(read(stamped(history(header(3), posts=2)))))
    held = Rejection(
        documents=None, stage="hsm_signer", reason=Reason.OTP_HELD, detail="", held_until=until, safe_to_retry=True
    )
    assert status.completed is not None
    end = NotPosted(documents=None, stage="hsm_signer", reason=Reason.OTP_HELD, safe_to_retry=True)
    result = status.completed.model_copy(update={"rejected": (end,)})
    shown = explained(status.model_copy(update={"rejections": (held,), "completed": result}), language)
    assert shown.completed is not None
    everywhere: list[Any] = [*shown.rejections, *shown.completed.rejected]
    for one in everywhere:
        assert said in one.explanation.detail


@pytest.mark.parametrize(("language", "words"), [("ms", "(waktu Malaysia)"), ("en", "(Malaysia time)")])
def test_a_code_that_went_to_the_address_of_before_says_from_when_the_new_one_works(
    language: Language, words: str
) -> None:
    """I-54: in the status, and in the row of the timeline."""
    told_then = datetime(2026, 11, 29, 4, 30, tzinfo=UTC)
    one = Dispatch(
        number=1,
        channel="e-mail",
        destination="s***@anm.example",
        reference_code="K7Q",
        delivered_at=told_then,
        expires_at=told_then,
        new_address_from=told_then,
    )
    plain = status_of(told(read(stamped(history(header(1), posts=1))))).model_copy(update={"dispatches": (one,)})
    (shown,) = explained(plain, language).dispatches
    assert shown.explanation is not None
    assert f"12:30, 29/11/2026 {words}" in shown.explanation.detail
    assert "s***@anm.example" in shown.explanation.detail
    assert (shown.explanation.signed, shown.explanation.posted) == (False, False)
    assert Dispatch.model_validate_json(explained_row("otp-dispatched", one.model_dump_json(), language)) == shown
    usual = one.model_copy(update={"new_address_from": None})
    assert explained(plain.model_copy(update={"dispatches": (usual,)}), language).dispatches == (usual,)
