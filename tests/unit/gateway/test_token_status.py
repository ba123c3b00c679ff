"""The status of a token request: what its officer has yet to sign, and what waits."""

from datetime import timedelta

from libs.contracts.reasons import Reason
from libs.contracts.waiting import Waiting
from services.gateway import timeline
from services.gateway.schemas import SigningStatus, Wait
from services.gateway.status import status_of
from services.gateway.timeline import Advance
from tests.unit.gateway.histories import (
    BEGIN,
    document,
    header,
    posted,
    read,
    rejected,
    resolved,
    stamped,
    told,
    verified,
)

HEAD = header(3)
RESOLVED = resolved(HEAD).model_copy(update={"medium": "token", "channels": ()})


def given(*numbers: int) -> Advance:
    return timeline.token_signed(HEAD.request_id, tuple(document(number).id for number in numbers), BEGIN)


def status(*advances: Advance) -> SigningStatus:
    return status_of(told([*read(stamped([RESOLVED])), *advances]))


def test_a_token_request_awaits_signatures_until_each_document_has_one():
    assert status().state == "awaiting-token-signatures"
    assert (status(given(0, 1)).state, status(given(0, 1)).counts.signed) == ("awaiting-token-signatures", 2)
    assert (status(given(0, 1), given(2)).state, status(given(0, 1), given(2)).counts.signed) == ("signing", 3)


def test_a_document_that_is_signed_again_is_counted_once():
    assert status(given(0, 1), given(1)).counts.signed == 2


def test_a_refused_document_does_not_stand_for_one_that_is_not_signed_yet():
    refused = read(stamped([verified(HEAD, 0), rejected(HEAD, [0], Reason.SAH_NOT_POSTED)]))
    assert status(given(0), *refused).state == "awaiting-token-signatures"


def test_later_stages_speak_for_signatures_whose_row_is_still_to_come():
    assert status(*read(stamped([verified(HEAD, number) for number in range(3)]))).state == "signing"
    ended = read(stamped([posted(HEAD, number) for number in range(3)]))
    assert status(*ended).state == "ending"


def test_what_waits_is_a_row_and_changes_no_state():
    event = Waiting(
        request_id=HEAD.request_id,
        documents=(document(0).id,),
        stage="crl_verifier",
        why="crl-stale",
        next_look=BEGIN + timedelta(seconds=5),
    )
    (row,) = timeline.waiting([(event, BEGIN)])
    (entry,) = row.entries
    assert entry.kind == "waiting"
    assert entry.data == Wait(
        documents=event.documents, stage="crl_verifier", why="crl-stale", next_look=event.next_look
    )
    assert status(given(0), row).state == "awaiting-token-signatures"
