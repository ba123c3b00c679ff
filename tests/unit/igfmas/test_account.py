"""Posted, refused, lost and duplicated are what was seen on Kafka, whatever the demonstration meant to do."""

import uuid
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pytest

from libs.contracts import topics
from libs.contracts.base import Event
from libs.contracts.manifest import Manifest
from libs.contracts.reasons import Reason
from libs.contracts.signing import Completed, Posted, PostedDocument, Rejected, Signed, Verified
from libs.contracts.topics import Topic
from services.igfmas.account import END_TO_END, account_of, percentile, stages_of
from services.igfmas.observation import Observation
from tests.support.documents import document, fresh_ids, manifest, officer, sign, verified
from tests.support.pki import Pki

NOW = datetime(2026, 11, 23, 8, tzinfo=UTC)


@pytest.fixture(scope="module")
def pki() -> Pki:
    return Pki()


class Run:
    """A run as the follower would see it; every record 10 ms after the one before."""

    def __init__(self, pki: Pki) -> None:
        self.observation = Observation()
        self.pki = pki
        self.officer = officer(pki)
        self.at = 1_000
        self.position = 0

    def ask(self, ids: Sequence[str] | None = None, count: int = 1, action: Any = "sah") -> Manifest:
        asked = manifest(
            self.officer.user, [document(each) for each in ids or fresh_ids(count)], action=action, system="iGFMAS"
        )
        self.observation.expect(asked.header.request_id, action, asked.documents)
        self.see(topics.REQUESTED, asked, None)
        self.see(topics.MEDIUM_RESOLVED, asked, None)
        self.see(topics.AUTHORISATION_SUBMITTED, asked, None)
        return asked

    def see(self, topic: Topic, asked: Manifest, event: Event | None) -> None:
        self.at += 10
        self.observation.see(topic, asked.header.request_id, event, self.at)

    def sign(self, asked: Manifest, **changed: Any) -> list[Signed]:
        events = sign(self.officer, asked, **changed)
        for event in events:
            self.see(topics.SIGNED, asked, event)
        return events

    def verify(self, asked: Manifest, events: list[Signed]) -> list[Verified]:
        good = verified(self.pki, events)
        for event in good:
            self.see(topics.VERIFIED, asked, event)
        return good

    def post(self, asked: Manifest, document_id: str, **changed: Any) -> Posted:
        values = {
            "request_id": asked.header.request_id,
            "document_id": document_id,
            "record_id": uuid.uuid5(asked.header.request_id, document_id),
            "log_position": self.position,
            "leaf_hash": b"",
            "posted_at": NOW,
        }
        self.position += 1
        event = Posted(**(values | changed))
        self.see(topics.POSTED, asked, event)
        return event

    def reject(self, asked: Manifest, documents: tuple[str, ...] | None) -> None:
        self.see(
            topics.REJECTED,
            asked,
            Rejected(
                request_id=asked.header.request_id,
                header=asked.header,
                documents=documents,
                stage="hsm_signer",
                reason=Reason.PIN_LOCKED,
                safe_to_retry=False,
            ),
        )

    def complete(self, asked: Manifest, posted: Sequence[Posted] = (), at: datetime = NOW) -> None:
        listed = tuple(PostedDocument(document_id=p.document_id, record_id=p.record_id) for p in posted)
        event = Completed(
            request_id=asked.header.request_id, header=asked.header, posted=listed, rejected=(), completed_at=at
        )
        self.see(topics.COMPLETED, asked, event)

    def good(self, asked: Manifest) -> list[Posted]:
        self.verify(asked, self.sign(asked))
        posted = [self.post(asked, entry.id) for entry in asked.documents]
        self.complete(asked, posted)
        return posted


@pytest.fixture
def run(pki: Pki) -> Run:
    return Run(pki)


def test_every_posted_document_counts_once_however_often_its_records_come(run: Run) -> None:
    asked = run.ask(count=3)
    posted = run.good(asked)
    for event in posted:
        run.see(topics.POSTED, asked, event)
    run.complete(asked, posted)
    account = account_of(run.observation)
    assert (account.requested, account.posted, account.refused, account.lost, account.duplicated) == (3, 3, 0, 0, 0)
    assert account.contradictions == ()


def test_what_has_no_outcome_is_lost(run: Run) -> None:
    asked = run.ask(count=3)
    run.sign(asked)
    posted = [run.post(asked, asked.documents[0].id)]
    run.complete(asked, posted)
    assert (account_of(run.observation).lost, account_of(run.observation).posted) == (2, 1)


def test_a_refusal_of_all_counts_for_what_is_not_posted(run: Run) -> None:
    asked = run.ask(count=3)
    posted = [run.post(asked, asked.documents[0].id)]
    run.reject(asked, None)
    run.complete(asked, posted)
    account = account_of(run.observation)
    assert (account.posted, account.refused, account.lost) == (1, 2, 0)


def test_a_second_record_of_a_document_is_a_duplicate(run: Run) -> None:
    asked = run.ask()
    run.good(asked)
    run.post(asked, asked.documents[0].id, record_id=uuid.uuid4())
    assert account_of(run.observation).duplicated == 1


def test_the_same_record_at_another_position_is_a_duplicate(run: Run) -> None:
    asked = run.ask()
    posted = run.good(asked)[0]
    run.see(topics.POSTED, asked, posted.model_copy(update={"log_position": 999}))
    assert account_of(run.observation).duplicated == 1


def test_a_second_signature_of_a_document_is_a_duplicate(run: Run) -> None:
    asked = run.ask()
    run.good(asked)
    run.sign(asked)  # P-256 with software keys: another signature over the same
    assert account_of(run.observation).duplicated == 1


def test_a_document_posted_by_two_requests_for_the_same_action_is_a_duplicate(run: Run) -> None:
    ids = fresh_ids(1)
    run.good(run.ask(ids))
    run.good(run.ask(ids))
    assert account_of(run.observation).duplicated == 1


def test_sah_and_peraku_of_a_document_are_two_signings_and_no_duplicate(run: Run) -> None:
    ids = fresh_ids(1)
    run.good(run.ask(ids))
    run.good(run.ask(ids, action="peraku"))
    account = account_of(run.observation)
    assert (account.requested, account.posted, account.duplicated) == (2, 2, 0)


def test_a_position_of_the_log_that_stands_twice_is_a_contradiction(run: Run) -> None:
    first, second = run.ask(), run.ask()
    for asked in (first, second):
        run.complete(asked, [run.post(asked, asked.documents[0].id, log_position=7)])
    assert any("position 7" in fault for fault in account_of(run.observation).contradictions)


def test_completed_that_lists_other_than_what_was_posted_is_a_contradiction(run: Run) -> None:
    asked = run.ask(count=2)
    run.post(asked, asked.documents[0].id)
    run.complete(asked)
    assert any("other documents" in fault for fault in account_of(run.observation).contradictions)


def test_two_different_ends_and_no_end_are_contradictions(run: Run) -> None:
    twice, never = run.ask(), run.ask()
    for at in (NOW, NOW.replace(hour=9)):
        run.complete(twice, [], at)
    faults = account_of(run.observation).contradictions
    assert f"{twice.header.request_id}: completed twice, differently" in faults
    assert f"{never.header.request_id}: not completed" in faults


def test_what_was_sent_and_is_not_on_the_topic_is_a_contradiction(run: Run) -> None:
    asked = manifest(run.officer.user, [document("D-1")])
    run.observation.expect(asked.header.request_id, "sah", asked.documents)
    account = account_of(run.observation)
    assert account.requested == 0
    assert any("not on the topic" in fault for fault in account.contradictions)


def test_what_is_published_again_keeps_what_was_seen_of_it_meanwhile(run: Run) -> None:
    """A publish that is not answered in time may have been taken: iGFMAS sends it again, and nobody the code."""
    asked = run.ask()
    before = run.observation.requests[asked.header.request_id]
    assert run.observation.expect(asked.header.request_id, "sah", asked.documents) is before
    assert before.submitted_at


def test_an_outcome_for_a_document_that_was_not_asked_for_is_a_contradiction(run: Run) -> None:
    asked = run.ask()
    run.good(asked)
    run.post(asked, "stranger")
    assert any("stranger" in fault for fault in account_of(run.observation).contradictions)


def test_requests_of_others_are_not_looked_at(run: Run) -> None:
    asked = manifest(run.officer.user, [document("D-1")])
    run.observation.see(topics.SIGNED, asked.header.request_id, sign(run.officer, asked)[0], 5)
    assert run.observation.all_documents() == []


def test_a_request_is_settled_when_its_end_and_all_that_it_lists_was_seen(run: Run) -> None:
    asked = run.ask()
    name = asked.documents[0].id
    record = uuid.uuid5(asked.header.request_id, name)
    seen = run.observation.requests[asked.header.request_id]
    posted = Posted(
        request_id=seen.request_id, document_id=name, record_id=record, log_position=0, leaf_hash=b"", posted_at=NOW
    )
    run.complete(asked, [posted])
    assert not seen.settled
    run.see(topics.POSTED, asked, posted)
    assert not seen.settled, "`verified` may be read after it"
    run.verify(asked, run.sign(asked))
    assert seen.settled


def test_latencies_are_differences_of_the_broker_s_times(run: Run) -> None:
    run.good(run.ask())
    stages = stages_of(run.observation)
    assert {name: stage.p50_ms for name, stage in stages.items()} == {
        "medium_lookup": 10,
        "otp_dispatch": None,
        "hsm_signer": 10,
        "crl_verifier": 10,
        "posting": 10,
        END_TO_END: 30,
    }
    assert stages["posting"].count == 1


def test_the_latency_of_signing_counts_from_the_last_authorisation_before_it(run: Run) -> None:
    asked = run.ask()
    run.at += 5_000
    run.see(topics.AUTHORISATION_SUBMITTED, asked, None)
    run.sign(asked)
    assert stages_of(run.observation)["hsm_signer"].p99_ms == 10


def test_percentiles_are_nearest_ranks() -> None:
    assert percentile(list(range(1, 101)), 99) == 99
    assert percentile([5], 50) == 5
    assert percentile([3, 1, 2], 50) == 2
    assert percentile([], 50) is None


def test_counts_follow_the_documents_through_the_stages(run: Run) -> None:
    asked = run.ask(count=2)
    run.verify(asked, run.sign(asked))
    run.post(asked, asked.documents[0].id)
    counts = run.observation.counts()
    reached = {name: counts[name] for name in ("requested", "gateway", "hsm_signer", "crl_verifier", "posting")}
    assert reached == {"requested": 2, "gateway": 2, "hsm_signer": 2, "crl_verifier": 2, "posting": 1}
