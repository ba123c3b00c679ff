"""The demonstration judges itself: everything that is not as it must be makes it fail."""

import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from libs.contracts.enrolment import Application
from libs.contracts.manifest import root_of_document
from libs.contracts.reasons import Reason
from libs.contracts.record import EvidenceError, canonical_record, record_id_of, record_of
from libs.contracts.signing import Posted
from libs.crypto.merkle import leaf_hash
from services.igfmas.account import Account
from services.igfmas.demo.command import SAMPLE, UNUSABLE_INPUT, demonstrate
from services.igfmas.demo.officers import new_cast, write_officers
from services.igfmas.demo.plan import SINGLES, plan_of
from services.igfmas.demo.results import Evidence, Outcome
from services.igfmas.demo.scenario import Refusal
from services.igfmas.demo.steps import STEPS
from services.igfmas.evidence import check, check_all, check_altered, write_evidence
from tests.support.documents import content, officer, signed, verified
from tests.support.pki import Pki

GOOD = Outcome(
    run="D1",
    seconds=1.23,
    account=Account(requested=4, posted=3, refused=1, lost=0, duplicated=0, contradictions=()),
    stages={},
    refusals=(Refusal("OTP", Reason.TOO_MANY_WRONG_OTP, expected=True),),
    evidence=Evidence(verified=3, failed=(), altered_checked=1, altered_accepted=(), unproven=()),
    dead_letters=(),
    failure=None,
)


def bad(**changes: Any) -> Outcome:
    return replace(GOOD, **changes)


def accounted(**changes: Any) -> Outcome:
    return bad(account=replace(GOOD.account, **changes))


def evidenced(**changes: Any) -> Outcome:
    assert GOOD.evidence is not None
    return bad(evidence=replace(GOOD.evidence, **changes))


def test_a_run_without_fault_is_good() -> None:
    assert GOOD.good
    summary = GOOD.summary()
    assert [summary[name] for name in ("requested", "posted", "refused", "lost", "duplicated")] == [4, 3, 1, 0, 0]


@pytest.mark.parametrize(
    "outcome",
    [
        accounted(lost=1),
        accounted(duplicated=1),
        accounted(contradictions=("x",)),
        accounted(posted=0),
        accounted(refused=2),
        bad(refusals=()),
        bad(refusals=(Refusal("OTP", Reason.EXPIRED, expected=False),)),
        bad(dead_letters=("gpki.signing.signed.v1.dlq",)),
        bad(failure="NotInTime: x"),
        bad(evidence=None),
        evidenced(verified=2),
        evidenced(failed=("x",)),
        evidenced(altered_accepted=("x",)),
        evidenced(altered_checked=0),
        evidenced(unproven=("x",)),
    ],
)
def test_every_fault_makes_a_run_fail(outcome: Outcome) -> None:
    assert not outcome.good
    assert outcome.summary()["good"] is False


@pytest.mark.parametrize("count", [1, 2, 20, 21, 22, 23, 520, 10_020, 10_021, 25_000])
def test_every_voucher_is_planned_exactly_once(count: int) -> None:
    plan = plan_of(range(count))
    planned = [*([plan.first] if plan.alone else []), *plan.singles, *(n for batch in plan.batches for n in batch)]
    assert planned == list(range(count))
    assert plan.first == 0
    assert all(1 <= len(batch) <= 10_000 for batch in plan.batches)


def test_the_sample_is_planned_as_the_story_tells() -> None:
    plan = plan_of(range(520))
    assert (plan.alone, len(plan.singles), [len(batch) for batch in plan.batches]) == (True, SINGLES, [500])


def test_there_are_fourteen_steps() -> None:
    assert list(STEPS) == list(range(1, 15))


def test_officers_are_new_in_every_run_and_fit_an_application() -> None:
    casts = [new_cast().everyone for _ in range(3)]
    assert len({one.email for cast in casts for one in cast}) == sum(len(cast) for cast in casts)
    assert len({one.pin for cast in casts for one in cast}) > 1
    for one in casts[0]:
        Application(
            application=one.application,
            user=one.user,
            name=one.name,
            email=one.email,
            office=one.office,
            algorithm=one.algorithm,
        )
    assert {one.role for one in casts[0]} == {"sah", "peraku"}
    assert {one.algorithm for one in casts[0]} == {"rsa-2048", "p-256"}


def test_pins_are_in_no_repr_and_in_a_file_for_the_owner_only(tmp_path: Path) -> None:
    cast = new_cast().everyone
    assert not any(one.pin in repr(one) for one in cast)
    for _ in range(2):
        write_officers(tmp_path / "officers.json", cast)
    assert (tmp_path / "officers.json").stat().st_mode & 0o777 == 0o600
    assert [entry["pin"] for entry in json.loads((tmp_path / "officers.json").read_text())] == [one.pin for one in cast]


def test_a_bad_file_starts_nothing_and_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "bad.csv"
    file.write_text(SAMPLE.read_text().replace("6717.02", "RM6,717"))
    assert demonstrate(file, tmp_path / "results") == UNUSABLE_INPUT
    told = capsys.readouterr().err
    assert "nothing was started" in told
    assert "row 2" in told
    assert not (tmp_path / "results").exists()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Evidence of one document, whose signature and CRLs are real."""
    pki = Pki()
    signer = officer(pki)
    event = verified(pki, signed(signer), at=pki.now)[0]
    root = root_of_document(event.header, event.entry, event.index, event.path)
    posted_at = pki.now + timedelta(seconds=1)
    posted = Posted(
        request_id=event.request_id,
        document_id=event.entry.id,
        record_id=record_id_of(event.request_id, event.entry.id),
        log_position=0,
        leaf_hash=leaf_hash(canonical_record(record_of(event, root=root, posted_at=posted_at))),
        posted_at=posted_at,
    )
    made = tmp_path_factory.mktemp("evidence") / event.entry.id
    trust = pki.trust_pem(pki.crl(), pki.crl(issuer=pki.root))
    write_evidence(made, content=content(event.entry.id), verified=event, posted=posted, trust=trust)
    with pytest.raises(EvidenceError):
        write_evidence(
            made / "other",
            content=b"",
            verified=event,
            posted=posted.model_copy(update={"posted_at": pki.now}),
            trust=trust,
        )
    return made


def test_openssl_accepts_the_folder_as_it_is(folder: Path) -> None:
    assert {file.name for file in folder.iterdir()} == {"document", "signature.p7s", "trust.pem", "record.json"}
    assert check(folder).holds, check(folder).said


def test_openssl_refuses_one_changed_byte_because_of_the_digest(folder: Path) -> None:
    verdict = check_altered(folder)
    assert verdict.altered
    assert not verdict.holds
    assert check(folder).holds


def test_openssl_refuses_when_the_officer_s_crl_is_missing(folder: Path, tmp_path: Path) -> None:
    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    certificates = x509.load_pem_x509_certificates((folder / "trust.pem").read_bytes())
    (tmp_path / "trust.pem").write_bytes(b"".join(one.public_bytes(Encoding.PEM) for one in certificates))
    assert "CRL" in check(tmp_path).said
    assert not check_altered(tmp_path).altered, "refused, but not for the document's bytes"


async def test_every_folder_gets_a_verdict(folder: Path, tmp_path: Path) -> None:
    done: list[None] = []
    (tmp_path / "record.json").write_text('{"openssl": "openssl cms -verify -in missing"}')
    verdicts = await check_all([folder, tmp_path, folder], check, lambda: done.append(None))
    assert [verdict.holds for verdict in verdicts] == [True, False, True]
    assert len(done) == 3
