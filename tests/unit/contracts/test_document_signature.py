"""What a signature must say to be believed, and whose certificate may say it."""

import subprocess
import uuid
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from libs.contracts.document_signature import ROAMING, TOKEN, CheckedSignature, check_registration, check_signature
from libs.contracts.manifest import root_of_document
from libs.contracts.reasons import Reason
from libs.crypto.cms import CmsTemplate
from libs.crypto.cms_reading import parse
from tests.support.documents import document, fresh_ids, manifest, officer, sign
from tests.support.pki import Pki, p256_key, shared_rsa_key


@pytest.fixture(scope="module")
def pki():
    return Pki()


@pytest.fixture(scope="module")
def aminah(pki):
    return officer(pki)


@pytest.fixture(scope="module")
def asked(aminah):
    return manifest(aminah.user, [document(each) for each in fresh_ids(5)])


@pytest.fixture
def good(aminah, asked):
    return sign(aminah, asked)[3]


def changed(event, **parts):
    return event.model_copy(update=parts)


@pytest.mark.parametrize("key", [p256_key, shared_rsa_key])
def test_a_signature_of_either_algorithm_holds_with_its_root_and_certificate(pki, key):
    signer = officer(pki, key=key())
    asked = manifest(signer.user, [document(each) for each in fresh_ids(3)])
    for event in sign(signer, asked):
        checked = check_signature(event)
        assert isinstance(checked, CheckedSignature)
        assert checked.root == asked.commitment().root
        assert checked.certificate == signer.identity.der


@pytest.mark.parametrize(
    "attributes",
    [
        {"document_id": "another"},
        {"digest": bytes(32)},
        {"action": "peraku"},
        {"system": "another"},
        {"root": bytes(32)},
    ],
    ids=lambda attributes: next(iter(attributes)),
)
def test_every_signed_attribute_must_be_that_of_the_document(aminah, asked, attributes):
    assert check_signature(sign(aminah, asked, **attributes)[0]) is Reason.ATTRIBUTES_MISMATCH


@pytest.mark.parametrize(
    "parts",
    [
        lambda event: {"index": 2},
        lambda event: {"index": 5},
        lambda event: {"path": event.path[:-1]},
        lambda event: {"path": (*event.path, bytes(32))},
        lambda event: {"path": (bytes(32), *event.path[1:])},
        lambda event: {"entry": replace(event.entry, amount="9999.00")},
        lambda event: {"entry": replace(event.entry, payee="Orang Lain")},
        lambda event: {"header": event.header.model_copy(update={"office": "PTJ-002"})},
        lambda event: {"header": event.header.model_copy(update={"count": "6"})},
    ],
    ids=["index", "index past the end", "path short", "path long", "path", "amount", "payee", "office", "count"],
)
def test_what_the_root_does_not_commit_to_is_a_mismatch(good, parts):
    assert check_signature(changed(good, **parts(good))) is Reason.ATTRIBUTES_MISMATCH


def test_a_signature_of_another_document_does_not_fit(aminah, asked):
    first, second, *_ = sign(aminah, asked)
    assert check_signature(changed(first, cms=second.cms)) is Reason.ATTRIBUTES_MISMATCH


def test_a_signature_that_the_key_did_not_make_is_invalid(aminah, good):
    document = parse(good.cms)
    template = CmsTemplate(document.certificate, document.chain)
    flipped = document.signature[:-1] + bytes([document.signature[-1] ^ 1])
    assert check_signature(changed(good, cms=template.assemble(document.signed_attributes, flipped))) is (
        Reason.SIGNATURE_INVALID
    )


def test_a_certificate_that_is_put_in_place_of_the_signers_is_a_mismatch(pki, good):
    document = parse(good.cms)
    template = CmsTemplate(officer(pki).identity.der, document.chain)
    swapped = template.assemble(document.signed_attributes, document.signature)
    assert check_signature(changed(good, cms=swapped)) is Reason.CERTIFICATE_MISMATCH


def test_a_signature_without_our_attributes_is_incomplete(aminah, good, tmp_path):
    (tmp_path / "document").write_bytes(b"document")
    (tmp_path / "cert.pem").write_bytes(aminah.identity.pem)
    (tmp_path / "key.pem").write_bytes(
        aminah.identity.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    )
    command = "openssl cms -sign -binary -in document -signer cert.pem -inkey key.pem -outform DER -out out"
    subprocess.run(command.split(), cwd=tmp_path, check=True, capture_output=True)
    assert check_signature(changed(good, cms=(tmp_path / "out").read_bytes())) is Reason.ATTRIBUTES_MISSING


@pytest.mark.parametrize("cms", [b"", b"\x30\x00", b"no DER at all"])
def test_what_is_no_cms_is_an_invalid_signature(good, cms):
    assert check_signature(changed(good, cms=cms)) is Reason.SIGNATURE_INVALID


def test_only_the_users_good_certificate_of_this_medium_is_registered(pki, aminah, good):
    assert check_registration(good, aminah.state(), ROAMING) is None
    assert check_registration(good, None, ROAMING) is Reason.CERTIFICATE_UNKNOWN
    assert check_registration(good, officer(pki).state(), ROAMING) is Reason.CERTIFICATE_MISMATCH
    assert check_registration(good, aminah.state(medium="token"), ROAMING) is Reason.CERTIFICATE_MISMATCH
    assert check_registration(good, aminah.state(medium="token"), TOKEN) is None
    assert check_registration(good, aminah.state(), TOKEN) is Reason.CERTIFICATE_MISMATCH
    assert check_registration(good, aminah.state("suspended"), ROAMING) is Reason.CERTIFICATE_SUSPENDED
    assert check_registration(good, aminah.state("revoked"), ROAMING) is Reason.CERTIFICATE_REVOKED


def test_the_root_is_computed_never_taken(aminah, asked, good):
    event = changed(good, request_id=uuid.uuid4())
    checked = check_signature(event)
    assert isinstance(checked, CheckedSignature)
    assert checked.root == root_of_document(event.header, event.entry, event.index, event.path)
