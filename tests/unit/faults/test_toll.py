"""The account of a fault sees what was lost, done twice, refused, or too late: else it could not fail."""

import uuid
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from libs.contracts import topics
from libs.contracts.reasons import Reason
from libs.contracts.signing import Completed, Posted, PostedDocument, Rejected, RejectedDocuments
from services.igfmas.observation import Observation
from tests.faults.campaign.account import RECOVERY, Mail, Toll, toll_of
from tests.support.documents import document, fresh_ids, manifest

NOW = datetime(2026, 11, 28, 8, tzinfo=UTC)
NONE: frozenset[str] = frozenset()


class Run:
    """Two documents of one request; the second is posted, refused, or open."""

    def __init__(self) -> None:
        self.ids = fresh_ids(2)
        self.asked = manifest("600101000000", [document(each) for each in self.ids])
        self.request_id = self.asked.header.request_id
        self.seen = Observation()
        self.seen.expect(self.request_id, "sah", self.asked.documents)
        self.seen.see(topics.REQUESTED, self.request_id, None, 1)

    def post(self, name: str, record: uuid.UUID | None = None, position: int = 0) -> PostedDocument:
        record_id = record or uuid.uuid5(self.request_id, name)
        event = Posted(
            request_id=self.request_id, document_id=name, record_id=record_id, log_position=position,
            leaf_hash=b"", posted_at=NOW,
        )  # fmt: skip
        self.seen.see(topics.POSTED, self.request_id, event, 2)
        return PostedDocument(document_id=name, record_id=record_id)

    def refuse(self, name: str, reason: Reason = Reason.OTP_UNDELIVERABLE) -> None:
        event = Rejected(
            request_id=self.request_id, header=self.asked.header, documents=(name,), stage="otp_dispatch",
            reason=reason, safe_to_retry=True,
        )  # fmt: skip
        self.seen.see(topics.REJECTED, self.request_id, event, 2)

    def complete(self, *posted: PostedDocument, refused: tuple[str, ...] | None = None) -> None:
        """`refused` are the documents that it lists so; None: every one that it does not post."""
        listed = refused if refused is not None else tuple(set(self.ids) - {one.document_id for one in posted})
        rejected = RejectedDocuments(
            documents=listed, stage="otp_dispatch", reason=Reason.OTP_UNDELIVERABLE, safe_to_retry=True
        )
        event = Completed(
            request_id=self.request_id, header=self.asked.header, posted=posted,
            rejected=(rejected,) if listed else (), completed_at=NOW,
        )  # fmt: skip
        self.seen.see(topics.COMPLETED, self.request_id, event, 3)

    def good(self) -> Toll:
        self.complete(*(self.post(name, position=number) for number, name in enumerate(self.ids)))
        return toll_of(self.seen, self.ids, [Mail("<m>", "123456", NOW)], {"<m>": NOW}, 1.0)


@pytest.fixture
def run() -> Run:
    return Run()


def test_all_posted_once_and_soon_holds(run: Run) -> None:
    toll = run.good()
    assert toll.holds(NONE, mails_again=False)
    assert (toll.documents, toll.posted, toll.lost, toll.duplicated, toll.otp_sent_twice) == (2, 2, 0, 0, 0)


def test_a_recovery_that_takes_too_long_does_not_hold(run: Run) -> None:
    assert not replace(run.good(), recovery=RECOVERY).holds(NONE, mails_again=False)


def test_nothing_posted_does_not_hold(run: Run) -> None:
    assert not replace(run.good(), posted=0).holds(NONE, mails_again=False)


def test_a_document_of_which_nothing_more_is_heard_is_lost(run: Run) -> None:
    run.complete(run.post(run.ids[0]))
    toll = toll_of(run.seen, run.ids[:1], [], {}, 1.0)
    assert toll.lost == 1
    assert not toll.holds(NONE, mails_again=False)


def test_two_records_of_a_document_are_a_double(run: Run) -> None:
    run.good()
    run.post(run.ids[0], record=uuid.uuid4(), position=7)
    toll = toll_of(run.seen, run.ids, [], {}, 1.0)
    assert toll.duplicated == 1
    assert not toll.holds(NONE, mails_again=False)


@pytest.mark.parametrize("records", [[0], [0, 1, 1]], ids=["one is missing", "one stands twice"])
def test_what_posting_keeps_is_what_was_said(run: Run, records: list[int]) -> None:
    run.good()
    toll = toll_of(run.seen, [run.ids[number] for number in records], [], {}, 1.0)
    assert toll.contradictions
    assert not toll.holds(NONE, mails_again=False)


def test_a_refusal_is_held_against_what_was_done_to_the_stack(run: Run) -> None:
    run.complete(run.post(run.ids[0]))
    run.refuse(run.ids[1])
    toll = toll_of(run.seen, run.ids[:1], [], {}, 1.0)
    assert toll.rejected == {"otp-undeliverable": 1}
    assert toll.lost == 0
    assert not toll.holds(NONE, mails_again=False)
    assert toll.holds(frozenset({"otp-undeliverable"}), mails_again=False)


@pytest.mark.parametrize("listed", ["too few", "another reason", "one that is posted", "a stranger"])
def test_what_the_end_lists_as_rejected_is_what_was_rejected(run: Run, listed: str) -> None:
    too = {"one that is posted": run.ids[0], "a stranger": "stranger"}
    refused = () if listed == "too few" else (run.ids[1], *([too[listed]] if listed in too else []))
    run.refuse(run.ids[1], Reason.AUTHORISATION_EXPIRED if listed == "another reason" else Reason.OTP_UNDELIVERABLE)
    run.refuse(run.ids[0])
    run.complete(run.post(run.ids[0]), refused=refused)
    toll = toll_of(run.seen, run.ids[:1], [], {}, 1.0)
    assert len(toll.contradictions) == 1
    assert not toll.holds(frozenset(Reason), mails_again=False)


def test_a_mail_comes_twice_only_where_its_record_may_not_commit_and_a_second_code_never(run: Run) -> None:
    run.good()
    first, late = Mail("<m>", "123456", NOW), NOW + timedelta(seconds=9)
    again = toll_of(run.seen, run.ids, [first, replace(first, kept_at=late)], {"<m>": late}, 1.0)
    assert again.otp_sent_twice == 1
    assert again.holds(NONE, mails_again=True)
    assert not again.holds(NONE, mails_again=False)
    other = toll_of(run.seen, run.ids, [first, replace(first, code="654321", kept_at=late)], {"<m>": late}, 1.0)
    assert not other.holds(NONE, mails_again=True)


def test_a_mail_that_comes_after_its_record_does_not_hold(run: Run) -> None:
    run.good()
    first = Mail("<m>", "123456", NOW)
    again = toll_of(run.seen, run.ids, [first, replace(first, kept_at=NOW + timedelta(seconds=9))], {"<m>": NOW}, 1.0)
    assert again.otp_sent_twice == 1
    assert not again.holds(NONE, mails_again=True)
