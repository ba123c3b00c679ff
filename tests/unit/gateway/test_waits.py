"""The status tells what a request waits for, in the officer's language, while something may be left to wait."""

from collections.abc import Sequence
from datetime import timedelta

import pytest

from libs.contracts.base import Event
from libs.contracts.reasons import Reason
from libs.contracts.signing import Stage
from libs.contracts.waiting import Waiting, WaitsFor
from services.gateway import timeline
from services.gateway.explaining import explained
from services.gateway.schemas import Wait
from services.gateway.status import status_of
from services.gateway.timeline import Advance
from tests.unit.gateway.histories import (
    BEGIN,
    completed,
    dispatched,
    document,
    failed,
    header,
    posted,
    read,
    rejected,
    resolved,
    signed,
    stamped,
    told,
    verified,
)

HEAD = header(3)
SECOND = timedelta(seconds=1)


def waiting(stage: Stage, why: str, numbers: Sequence[int] | None = None, *, at: float = 0.5) -> Advance:
    event = Waiting(
        request_id=HEAD.request_id,
        documents=None if numbers is None else tuple(document(number).id for number in numbers),
        stage=stage,
        why=why,
        next_look=BEGIN + at * SECOND + 5 * SECOND,
    )
    (row,) = timeline.waiting([(event, BEGIN + at * SECOND)])
    return row


def waits(*happened: Event | Advance) -> tuple[Wait, ...]:
    rows = [one for one in happened if isinstance(one, Advance)]
    events = stamped([one for one in happened if not isinstance(one, Advance)])
    return status_of(told([*read(events), *rows])).waits


RELAY = waiting("otp_dispatch", WaitsFor.RELAY, at=0)
SEALING_KEY = waiting("otp_dispatch", WaitsFor.SEALING_KEY, at=0)
HSM = waiting("hsm_signer", WaitsFor.HSM, at=100)
CRL = waiting("crl_verifier", WaitsFor.CRL_STALE, [0, 1])
SAH = waiting("posting", WaitsFor.SAH, [2])


@pytest.mark.parametrize(
    ("wait", "before", "over"),
    [
        (RELAY, [], [dispatched(HEAD)]),
        (SEALING_KEY, [], [dispatched(HEAD)]),
        (HSM, [dispatched(HEAD), signed(HEAD, 0), signed(HEAD, 1)], [signed(HEAD, 2)]),
        (HSM, [signed(HEAD, 0)], [rejected(HEAD, [1, 2], Reason.CANCELLED, stage="hsm_signer")]),
        (CRL, [signed(HEAD, 0), signed(HEAD, 1), verified(HEAD, 0)], [verified(HEAD, 1)]),
        (CRL, [signed(HEAD, 0), signed(HEAD, 1), rejected(HEAD, [2], Reason.CANCELLED, stage="hsm_signer")],
         [verified(HEAD, 0), rejected(HEAD, [1], Reason.CERTIFICATE_REVOKED, stage="crl_verifier")]),
        (SAH, [signed(HEAD, 2), verified(HEAD, 2)], [posted(HEAD, 2)]),
        (SAH, [signed(HEAD, 2), verified(HEAD, 2)], [rejected(HEAD, None, Reason.EXPIRED)]),
        (SAH, [verified(HEAD, 2)], [completed(HEAD, range(3))]),
    ],
    ids=str,
)  # fmt: skip
def test_a_wait_is_told_while_something_may_be_left_at_its_stage(
    wait: Advance, before: list[Event], over: list[Event]
) -> None:
    (found,) = waits(resolved(HEAD), wait, *before)
    assert found == wait.entries[0].data
    assert waits(resolved(HEAD), wait, *before, *over) == ()


def test_an_attempt_that_was_answered_waits_for_the_hsm_no_more() -> None:
    asked = waiting("hsm_signer", WaitsFor.HSM, at=-1)
    assert waits(resolved(HEAD), dispatched(HEAD), asked)
    assert waits(resolved(HEAD), dispatched(HEAD), failed(HEAD, "a", 4), asked) == ()


def test_what_one_cause_keeps_is_told_together_whatever_the_slices() -> None:
    """Next look: as it was said last."""
    later = waiting("crl_verifier", WaitsFor.CRL_STALE, [2, 1], at=2)
    found = waits(resolved(HEAD), *(signed(HEAD, number) for number in range(3)), later, CRL, HSM)
    assert [(one.stage, one.documents) for one in found] == [
        ("crl_verifier", tuple(document(number).id for number in range(3)))
    ]
    assert found[0].next_look == later.entries[0].data.model_dump()["next_look"]


@pytest.mark.parametrize(
    ("stage", "why", "is_signed"), [("hsm_signer", WaitsFor.HSM, False), ("posting", WaitsFor.SAH, True)]
)
def test_a_wait_is_explained_in_both_languages_and_says_what_is_signed(
    stage: Stage, why: WaitsFor, is_signed: bool
) -> None:
    rows = [waiting(stage, why)]
    events = [resolved(HEAD), *([verified(HEAD, 0)] if is_signed else [])]
    status = status_of(told([*read(stamped(events)), *rows]))
    titles = set()
    for language in ("ms", "en"):
        (one,) = explained(status, language).waits
        assert one.explanation is not None
        assert (one.explanation.signed, one.explanation.posted) == (is_signed, False)
        titles.add(one.explanation.title)
    assert len(titles) == 2


def test_what_a_later_release_waits_for_is_told_without_a_text() -> None:
    status = status_of(told([*read(stamped([resolved(HEAD)])), waiting("hsm_signer", "moon-phase")]))
    (one,) = explained(status, "en").waits
    assert (one.why, one.explanation) == ("moon-phase", None)
