"""What a record's folder proves offline, and that every part of it is needed for the proof."""

import base64
import hashlib
import json
import shutil
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from libs.contracts.record import canonical_record, evidence, record_id_of, record_of
from libs.contracts.signing import CrlChecked, Posted, Signed, Verified
from libs.crypto.merkle import leaf_hash
from libs.crypto.pki import RevokedCertificate
from libs.gpki_client import RecordError
from libs.gpki_client.record import verify_record
from services.igfmas.evidence import write_evidence
from tests.support.documents import Officer, content, document, manifest, officer, sign, verified
from tests.support.pki import EPOCH, Pki, shared_rsa_key

PKI = Pki()
OFFICERS = {"p-256": officer(PKI), "rsa-2048": officer(PKI, key=shared_rsa_key())}
CRLS = [PKI.crl(PKI.issuing, number=7), PKI.crl(PKI.root, number=3)]
ROOT = PKI.root.certificate.public_bytes(Encoding.PEM)
INDEX = 2


def checked(signed: Signed, crls: list[bytes] = CRLS) -> Verified:
    """As crl_verifier says it, of CRLs that are there."""
    told = []
    for der, issuer in zip(crls, (PKI.issuing, PKI.root), strict=True):
        crl = x509.load_der_x509_crl(der)
        assert crl.next_update_utc
        told.append(
            CrlChecked(
                issuer=issuer.certificate.subject.rfc4514_string(),
                number=crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number,
                this_update=crl.last_update_utc,
                next_update=crl.next_update_utc,
            )
        )
    return verified(PKI, [signed])[0].model_copy(update={"crls": tuple(told)})


def write(folder: Path, who: Officer, *, crls: list[bytes] = CRLS, **changed: Any) -> Path:
    """The folder of the third of five documents."""
    asked = manifest(who.user, [document(f"D{number}") for number in range(5)])
    event = checked(sign(who, asked, **changed)[INDEX], crls)
    record = record_of(event, root=asked.commitment().root, posted_at=EPOCH)
    posted = Posted(
        request_id=event.request_id,
        document_id=event.entry.id,
        record_id=record_id_of(event.request_id, event.entry.id),
        log_position=41,
        leaf_hash=leaf_hash(canonical_record(record)),
        posted_at=EPOCH,
    )
    assert evidence(event, posted)
    trust = PKI.trust_pem(*crls)
    write_evidence(folder, content=content(event.entry.id), verified=event, posted=posted, trust=trust)
    return folder


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("record") / "good", OFFICERS["p-256"])


@pytest.fixture
def folder(written: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(written, tmp_path / "copy"))


def failed(folder: Path, **options: Any) -> str:
    with pytest.raises(RecordError) as raised:
        verify_record(folder, **options)
    return raised.value.check


@pytest.mark.parametrize("kind", OFFICERS)
def test_a_good_record_is_proved(tmp_path: Path, kind: str) -> None:
    proven = verify_record(write(tmp_path / "good", OFFICERS[kind]), root=ROOT)
    assert (proven.document_id, proven.user, proven.action) == ("D2", OFFICERS[kind].user, "sah")
    assert proven.root_certificate == hashlib.sha256(PKI.root.certificate.public_bytes(Encoding.DER)).hexdigest()


def test_a_root_that_came_with_the_folder_is_believed_only_without_a_pinned_one(folder: Path) -> None:
    assert verify_record(folder) == verify_record(folder, root=ROOT)
    assert failed(folder, root=Pki().root.certificate.public_bytes(Encoding.DER)) == "certificate"
    assert failed(folder, root=b"rubbish") == "certificate"


@pytest.mark.parametrize("name", ["record.json", "document", "signature.p7s", "trust.pem"])
def test_no_file_may_be_missing_or_empty(folder: Path, name: str) -> None:
    (folder / name).write_bytes(b"")
    assert failed(folder) in {"record", "document", "cms", "certificate"}
    (folder / name).unlink()
    with pytest.raises(RecordError, match=rf"^files: {name}: No such file"):
        verify_record(folder)


def leaves(value: Any, place: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The place of every text and number in a JSON value."""
    if isinstance(value, dict | list):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        return [found for name, item in items for found in leaves(item, (*place, name))]
    return [place]


def changed(value: Any) -> Any:
    """Something else of the same form. The last letter of padded base64 has bits that say nothing: the one before."""
    if isinstance(value, int):
        return str(value)
    places = [index for index, letter in enumerate(value) if letter.isalnum() and letter != "Z"]
    last = places[-2] if value.endswith("=") else places[-1]
    return value[:last] + ("1" if value[last] != "1" else "2") + value[last + 1 :]


def mutations(record: dict[str, Any]) -> list[tuple[tuple[Any, ...], dict[str, Any]]]:
    found = []
    for place in leaves(record):
        copy = json.loads(json.dumps(record))
        at = copy
        for name in place[:-1]:
            at = at[name]
        at[place[-1]] = changed(at[place[-1]])
        found.append((place, copy))
    return found


def rewrite(folder: Path, record: dict[str, Any], *, consistent: bool) -> None:
    """Put another record there; a consistent forger computes the leaf anew."""
    if consistent:
        logged = {name: record[name] for name in record if name not in ("log_position", "leaf_hash", "openssl")}
        record = record | {"leaf_hash": leaf_hash(canonical_record(logged)).hex()}
    (folder / "record.json").write_text(json.dumps(record, ensure_ascii=False))


def test_every_value_of_the_record_is_needed(folder: Path) -> None:
    record = json.loads((folder / "record.json").read_text())
    places = mutations(record)
    assert len(places) > 30
    for place, mutated in places:
        rewrite(folder, mutated, consistent=False)
        expected = {"type": "record", "log_position": "record", "openssl": "command"}.get(place[0], "leaf")
        assert failed(folder) == expected, place


UNPROVED = {
    ("authorisation", "channel"), ("authorisation", "reference_code"), ("signed_at",), ("verified_at",), ("posted_at",),
}  # fmt: skip
"""What only the signing log vouches for; of `signed_at` the part of a second, for the command names the second."""


def test_a_forger_who_computes_the_leaf_anew_is_found_by_what_the_value_should_agree_with(folder: Path) -> None:
    record = json.loads((folder / "record.json").read_text())
    checks = {}
    for place, mutated in mutations(record):
        if place == ("leaf_hash",):
            continue
        rewrite(folder, mutated, consistent=True)
        if place in UNPROVED:
            assert verify_record(folder).leaf_hash != record["leaf_hash"]
        else:
            checks[place] = failed(folder)
    assert checks["header", "request"] == checks["header", "caller"] == checks["document", "id"] == "ids"
    assert checks["record_id",] == checks["request_id",] == "ids"
    for place in (("header", "office"), ("document", "amount"), ("document", "sha256"), ("index",), ("path", 0)):
        assert checks[place] == "root", place
    assert checks["root",] == "root"
    assert checks["cms",] == "cms"
    assert checks["certificate_path", 0] == "cms"
    assert checks["certificate_path", 1] == checks["certificate_path", 2] == "certificate"
    assert {checks["crls", n, name] for n in (0, 1) for name in ("issuer", "number")} == {"crl"}


@pytest.mark.parametrize("wrong", ["", "[]", "{}", '"x"', '{"type":"gpki.record.v1"}'])
def test_what_is_no_record_is_told_as_that(folder: Path, wrong: str) -> None:
    (folder / "record.json").write_text(wrong)
    assert failed(folder) == "record"


def test_a_name_that_stands_twice_is_refused(folder: Path) -> None:
    text = (folder / "record.json").read_text()
    (folder / "record.json").write_text(text.replace('"type":', '"posted_at": "x", "type":', 1))
    assert failed(folder) == "record"


def test_every_byte_of_document_and_signature_counts(folder: Path) -> None:
    for name, expected in (("document", "document"), ("signature.p7s", "cms")):
        good = (folder / name).read_bytes()
        for at in range(0, len(good), max(1, len(good) // 60)):
            (folder / name).write_bytes(good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :])
            assert failed(folder) == expected
        (folder / name).write_bytes(good)


def forge(folder: Path, cms: bytes) -> None:
    """Another CMS, in both places, with the leaf computed anew."""
    record = json.loads((folder / "record.json").read_text())
    (folder / "signature.p7s").write_bytes(cms)
    rewrite(folder, record | {"cms": base64.b64encode(cms).decode()}, consistent=True)


def test_every_byte_of_a_forged_cms_counts(folder: Path) -> None:
    good, record = (folder / "signature.p7s").read_bytes(), (folder / "record.json").read_bytes()
    found = set()
    (issuing,) = PKI.chain  # nobody signed that it is there, and trust.pem has it too
    unsigned = range(good.index(issuing) + 4, good.index(issuing) + len(issuing))
    for at in sorted(set(range(0, len(good), 11)) - set(unsigned)):
        (folder / "signature.p7s").write_bytes(good)
        (folder / "record.json").write_bytes(record)
        forge(folder, good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :])
        found.add(failed(folder))
    assert found <= {"cms", "attributes", "signature", "certificate", "record"}
    assert found >= {"cms", "attributes", "signature"}


@pytest.mark.parametrize(
    "attribute",
    [{"document_id": "D1"}, {"digest": bytes(32)}, {"action": "peraku"}, {"system": "other"}, {"root": bytes(32)}],
    ids=lambda attribute: next(iter(attribute)),
)
def test_a_signature_that_says_something_else_is_named(tmp_path: Path, attribute: dict[str, Any]) -> None:
    folder = write(tmp_path / "other", OFFICERS["p-256"], **attribute)
    with pytest.raises(RecordError, match=next(iter(attribute))) as raised:
        verify_record(folder)
    assert raised.value.check == "attributes"


def test_each_part_of_the_trust_is_needed(folder: Path) -> None:
    pem = (folder / "trust.pem").read_text()
    blocks = [f"-----BEGIN {block}" for block in pem.split("-----BEGIN ")[1:]]
    root, issuing, crl, root_crl = blocks
    for left, expected in (
        ([issuing, crl, root_crl], "certificate"),
        ([root, issuing, root_crl], "crl"),
        ([root, issuing, crl], "crl"),
        ([root, issuing, crl, root_crl.replace("A", "B", 5)], "files"),
    ):
        (folder / "trust.pem").write_text("".join(left))
        assert failed(folder) in {expected, "crl"}, expected
    (folder / "trust.pem").write_text(root + crl + root_crl)
    assert verify_record(folder).document_id == "D2", "the CMS has the issuing authority's certificate itself"


def test_a_revoked_certificate_a_stale_crl_and_one_of_another_hand_are_found(tmp_path: Path) -> None:
    who = OFFICERS["p-256"]
    revoked = [RevokedCertificate(who.identity.certificate.serial_number, EPOCH)]
    old = EPOCH - timedelta(days=2)
    forged = Pki(root_key=PKI.root_key)
    for number, crls in enumerate(
        [
            [PKI.crl(PKI.issuing, number=7, revoked=revoked), CRLS[1]],
            [PKI.crl(PKI.issuing, number=7, this_update=old, next_update=old + timedelta(days=1)), CRLS[1]],
            [forged.crl(forged.issuing, number=7), CRLS[1]],
        ]
    ):
        assert failed(write(tmp_path / str(number), who, crls=crls)) == "crl"


def test_another_officer_s_certificate_and_one_that_had_expired_are_found(tmp_path: Path) -> None:
    expired = PKI.validity(days=-1)
    for number, other in enumerate(
        [
            Officer(PKI, "111111111111", PKI.officer("222222222222")),
            officer(PKI, validity=type(expired)(EPOCH - timedelta(days=9), EPOCH - timedelta(days=1))),
        ]
    ):
        assert failed(write(tmp_path / str(number), other)) == "certificate"
