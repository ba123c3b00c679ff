"""Another code and what waits, in status and timeline, whatever came first."""

from datetime import timedelta
from uuid import UUID

import pytest

from libs.contracts.resending import ResendAnswered
from libs.contracts.waiting import Waiting
from services.gateway import timeline
from services.gateway.status import status_of
from tests.unit.gateway.histories import BEGIN, header, read, resolved, stamped, told

HEAD = header(4)
SECOND = timedelta(seconds=1)


@pytest.mark.parametrize("overtaken", [False, True])
def test_an_ask_is_shown_once_with_its_answer_whichever_came_first(overtaken: bool) -> None:
    asked = [
        timeline.resend_requested(HEAD.request_id, str(UUID(int=number)), BEGIN, channel="e-mail") for number in (1, 2)
    ]
    event = ResendAnswered(request_id=HEAD.request_id, resend=UUID(int=1), number=2, refusal=None, codes_left=1)
    answered = timeline.resend_answered(event, BEGIN - SECOND if overtaken else BEGIN + SECOND)
    known = read(stamped([resolved(HEAD)]))
    shown = status_of(told([*known, answered, *asked] if overtaken else [*known, *asked, answered])).resends
    assert [(one.resend.int, one.channel, one.number, one.refusal, one.codes_left) for one in shown] == [
        (1, "e-mail", 2, None, 1),
        (2, "e-mail", None, None, None),
    ]


def waits(documents: tuple[str, ...] | None, why: str = "crl-stale", seconds: int = 30) -> Waiting:
    return Waiting(
        request_id=HEAD.request_id,
        documents=documents,
        stage="crl_verifier",
        why=why,
        next_look=BEGIN + timedelta(seconds=seconds),
    )


def test_what_waits_for_one_reason_is_one_row_with_the_first_look_of_all() -> None:
    arrived = [waits(("b",)), waits(("a",), seconds=10), waits(None), waits(("c",), "certificate-unknown")]
    rows = [
        (one.entries[0].data.model_dump(), one.entries[0].at)
        for one in timeline.waiting([(event, BEGIN + number * SECOND) for number, event in enumerate(arrived)])
    ]
    assert [(data["documents"], data["why"], at) for data, at in rows] == [
        (("a", "b"), "crl-stale", BEGIN + SECOND),
        (None, "crl-stale", BEGIN + 2 * SECOND),
        (("c",), "certificate-unknown", BEGIN + 3 * SECOND),
    ]
    assert rows[0][0]["next_look"] == BEGIN + timedelta(seconds=10)
