"""A request is told in the broker's order, in few lines, with where it stands; and nothing secret is told."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from pydantic import TypeAdapter

from libs.contracts import topics
from libs.contracts.base import Event
from libs.contracts.manifest import Document, Header, Manifest, SignedManifest, UncheckedManifest
from libs.contracts.reasons import Reason
from libs.contracts.signing import (
    Authorisation,
    AuthorisationFailed,
    AuthorisationSubmitted,
    Completed,
    MediumResolved,
    OtpDispatched,
    Posted,
    Rejected,
    Requested,
    SealedChallenge,
    Signed,
)
from libs.contracts.topics import Topic
from libs.contracts.waiting import Waiting
from services.operations.standing import duration, standing
from services.operations.terminal import shown
from services.operations.tracing import Seen, documents_of, lines
from tests.support import requests

START = datetime(2026, 11, 28, 3, 0, tzinfo=UTC)
HEAD = requests.header("900101000000", 3)
LISTED = requests.documents(3)
NAMES = tuple(each["id"] for each in LISTED)
MANIFEST = Manifest(
    header=Header(**HEAD), documents=TypeAdapter(tuple[Document, ...]).validate_python([dict(one) for one in LISTED])
)
ID = MANIFEST.header.request_id
SIGNED_MANIFEST = SignedManifest(manifest=MANIFEST, caller_key="k", signature=b"SIGNATURE")
SEALED = b"SEALED-SEALED-SEALED"

SOURCES = {
    topics.MEDIUM_RESOLVED: "medium_lookup",
    topics.OTP_DISPATCHED: "otp_dispatch",
    topics.AUTHORISATION_SUBMITTED: "gateway",
    topics.AUTHORISATION_FAILED: "hsm_signer",
    topics.SIGNED: "hsm_signer",
    topics.POSTED: "posting",
    topics.COMPLETED: "posting",
}


def seen(topic: Topic, event: Event | None, after: float, **values: Any) -> Seen:
    """`after` seconds."""
    source = f"/gpki/{SOURCES.get(topic, 'igfmas')}"
    return Seen(
        topic, START + timedelta(seconds=after), **{"source": source, "id": str(uuid4()), "event": event} | values
    )


def requested(after: float = 0) -> Seen:
    manifest = UncheckedManifest(header=dict(HEAD), documents=tuple(dict(one) for one in LISTED))
    return seen(topics.REQUESTED, Requested(manifest=manifest, caller_key="k", signature=b"s"), after)


def resolved(after: float = 1, medium: Any = "roaming-otp") -> Seen:
    event = MediumResolved(
        request_id=ID, signed=SIGNED_MANIFEST, requested_at=START, medium=medium, credential_id=uuid4(),
        channels=("e-mail",),
    )  # fmt: skip
    return seen(topics.MEDIUM_RESOLVED, event, after)


def dispatched(after: float = 2, destination: str = "a***@anm.example") -> Seen:
    event = OtpDispatched(
        request_id=ID, user=HEAD["user"], number=1, channel="e-mail", destination=destination, reference_code="K7Q2",
        delivered_at=START, expires_at=START + timedelta(minutes=10), sealing_key_id="s", challenge=SEALED,
    )  # fmt: skip
    return seen(topics.OTP_DISPATCHED, event, after)


def submitted(after: float = 3, sealed: bytes = SEALED) -> Seen:
    event = AuthorisationSubmitted(
        request_id=ID, signed=SIGNED_MANIFEST, challenges=(SealedChallenge(sealing_key_id="s", sealed=SEALED),),
        sealing_key_id="s", sealed=sealed,
    )  # fmt: skip
    return seen(topics.AUTHORISATION_SUBMITTED, event, after)


def failed(after: float = 4, sealed: bytes = SEALED) -> Seen:
    attempt = submitted(sealed=sealed).event
    assert isinstance(attempt, AuthorisationSubmitted)
    event = AuthorisationFailed(
        request_id=ID, attempt=attempt.attempt, reason=Reason.PIN_INCORRECT, attempts_left=2, safe_to_retry=True
    )
    return seen(topics.AUTHORISATION_FAILED, event, after)


def signed(number: int, after: float = 5) -> Seen:
    event = Signed(
        request_id=ID, header=MANIFEST.header, index=number, entry=MANIFEST.documents[number], path=(),
        authorisation=Authorisation(channel="e-mail", reference_code="K7Q2"), cms=b"CMS-CMS-CMS",
    )  # fmt: skip
    return seen(topics.SIGNED, event, after)


def posted(number: int, after: float = 6) -> Seen:
    event = Posted(
        request_id=ID, document_id=NAMES[number], record_id=uuid4(), log_position=40 + number, leaf_hash=b"l",
        posted_at=START,
    )  # fmt: skip
    return seen(topics.POSTED, event, after)


def rejected(documents: tuple[str, ...] | None, after: float = 6, **values: Any) -> Seen:
    said = {"stage": "crl_verifier", "reason": Reason.CERTIFICATE_REVOKED, "safe_to_retry": False} | values
    event = Rejected(request_id=ID, header=MANIFEST.header, documents=documents, **said)
    return seen(topics.REJECTED, event, after, source=f"/gpki/{said['stage']}")


def waiting(documents: tuple[str, ...] | None, stage: Any, after: float) -> Seen:
    event = Waiting(request_id=ID, documents=documents, stage=stage, why="crl-stale", next_look=START)
    return seen(topics.WAITING, event, after, source=f"/gpki/{stage}")


def completed(after: float = 7) -> Seen:
    event = Completed.model_validate(
        {
            "request_id": ID,
            "header": MANIFEST.header,
            "posted": [{"document_id": NAMES[0], "record_id": uuid4()}],
            "rejected": [{"documents": None, "stage": "posting", "reason": Reason.EXPIRED, "safe_to_retry": True}],
            "completed_at": START,
        }
    )
    return seen(topics.COMPLETED, event, after)


def stands(*of: Seen, after: float = 60) -> str:
    return standing(of, START + timedelta(seconds=after))


def test_events_are_told_in_the_broker_s_order_and_in_one_millisecond_as_the_chain_goes() -> None:
    told = lines([completed(1), resolved(1), dispatched(0.5), requested(0)], every=False)
    assert [line[44:].split()[1] for line in told] == ["requested", "otp-dispatched", "medium-resolved", "completed"]
    assert told[0].startswith("2026-11-28 03:00:00.000Z")
    assert "+500 ms  otp_dispatch " in told[1]
    assert told[1].endswith("no. 1 by e-mail to a***@anm.example, reference K7Q2, until 03:10:00Z")
    assert told[3].endswith("1 posted, rejected: 2 expired at posting")


def test_documents_of_a_pukal_are_one_line_with_first_last_and_number_and_each_its_own_on_demand() -> None:
    pukal = [signed(number, 5 + number / 10) for number in range(3)]
    (line,) = lines(pukal, every=False)
    assert "+0..200 ms  hsm_signer " in line
    assert line.endswith("3 documents; e-mail")
    each = lines(pukal, every=True)
    assert [line.rpartition("  ")[2] for line in each] == [f"{name}; e-mail" for name in NAMES]


def test_documents_that_were_refused_for_different_causes_are_not_told_as_one() -> None:
    told = lines([rejected(NAMES[:1]), rejected(NAMES[1:], reason=Reason.CRL_STALE)], every=False)
    assert [line.rpartition("  ")[2] for line in told] == [
        f"{NAMES[0]}; crl_verifier: certificate-revoked",
        "2 documents; crl_verifier: crl-stale",
    ]


def test_a_record_that_came_again_is_told_as_such_and_counted_once() -> None:
    once = signed(0)
    told = lines(
        [once, signed(1), Seen(once.topic, once.at + timedelta(seconds=1), once.source, once.id, once.event)],
        every=False,
    )
    assert [line.rpartition("  ")[2] for line in told] == ["2 documents; e-mail", f"{NAMES[0]}; e-mail; again"]


def test_nothing_sealed_no_signature_and_no_whole_address_is_told() -> None:
    chain = [requested(), resolved(), dispatched(destination="aminah@anm.example"), submitted(), failed(), signed(0)]
    chain += [rejected(None, detail="the mailbox refused: 550 <aminah@anm.example>\x1b[2J")]
    told = "\n".join([*lines(chain, every=True), stands(*chain[:3])])
    for secret in ("SEALED", "U0VBTEVE", "CMS-", "Q01TL", "aminah", HEAD["user"], "\x1b"):
        assert secret not in told
    assert "[address]" in told


def test_what_cannot_be_read_and_who_is_none_of_ours_is_told_as_that() -> None:
    (line,) = lines([seen(topics.WAITING, None, 0, source="/gpki/\x1b[31mposting")], every=False)
    assert "  outside " in line
    assert line.endswith("cannot be read")


@pytest.mark.parametrize(
    ("text", "told"),
    [("a***@x.my", "a***@x.my"), ("ab***@x.my", "[address]"), ("to a@x.my, b@y.my", "to [address], [address]")],
)
def test_only_a_masked_address_is_shown(text: str, told: str) -> None:
    assert shown(text) == told


def test_documents_are_known_from_whatever_names_them() -> None:
    assert documents_of([requested()]) == documents_of([resolved()]) == set(NAMES)
    assert documents_of([rejected(("X",)), waiting(("Y",), "posting", 1), completed()]) == {"X", "Y", NAMES[0]}


def test_a_request_stands_where_the_furthest_that_is_known_leaves_it() -> None:
    """Each stage, and for how long it has it."""
    asked = [requested(), resolved()]
    assert "medium_lookup has it for 1 min," in stands(requested())
    assert "otp_dispatch has 3 documents for 59 s, no code was delivered" in stands(*asked)
    entered = stands(*asked, dispatched())
    assert "the officer has 3 documents for 58 s, PIN and OTP are not entered (reference K7Q2, by e-mail" in entered
    tried = [*asked, dispatched(), submitted()]
    assert "hsm_signer has 3 documents for 57 s, PIN and OTP were submitted" in stands(*tried)
    assert "the officer has 3 documents for 56 s, the last attempt failed, pin-incorrect" in stands(*tried, failed())
    again = [*tried, failed(), submitted(5, b"other")]
    assert "hsm_signer has 3 documents for 55 s" in stands(*again)
    some = [*tried, signed(0, 10), signed(1)]  # the older one is not the first by name
    assert "hsm_signer has 1 of 3 documents for 57 s" in stands(*some)
    assert "crl_verifier has 2 of 3 documents for 55 s" in stands(*some)
    ended = [*some, signed(2), posted(0), rejected(NAMES[1:2])]
    assert "crl_verifier has 1 of 3 documents for 55 s; 2 documents ended." in stands(*ended)
    whole = [*ended, posted(2, 20)]
    assert "every document has its outcome, posting has that for 40 s" in stands(*whole)
    assert stands(*whole, completed()).startswith("Completed at 2026-11-28 03:00:07Z, 7 s after it began: 1 posted")
    assert "crl_verifier rejected it whole (certificate-revoked)" in stands(*asked, rejected(None))


def test_a_token_s_request_stands_with_its_officer() -> None:
    assert "the officer has 3 documents for 59 s, signs with the own token" in stands(resolved(medium="token"))


def test_why_a_stage_waits_is_told_while_it_has_what_waits() -> None:
    tried = [resolved(), dispatched(), submitted(), signed(0)]
    parked = waiting((NAMES[0],), "crl_verifier", 6)
    assert "crl_verifier waits: crl-stale (told 54 s ago)" in stands(*tried, parked)
    assert "waits" not in stands(*tried, parked, posted(0))


def test_what_has_only_the_end_of_something_is_not_begun() -> None:
    cancel = seen(topics.CANCEL_REQUESTED, requests.cancel_of(HEAD), 0)
    assert stands(cancel) == "Not begun: there is no `requested` of it that can be read, only cancel-requested."


@pytest.mark.parametrize(
    ("seconds", "told"),
    [(-1, "0 ms"), (0.25, "250 ms"), (59.4, "59 s"), (60, "1 min"), (3_661, "1 h 1 min"), (90_000, "1 d 1 h")],
)
def test_a_duration_is_told_in_two_units_at_most(seconds: float, told: str) -> None:
    assert duration(timedelta(seconds=seconds)) == told
