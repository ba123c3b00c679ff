"""An officer's own token makes signatures that the platform and OpenSSL accept, and never shows its PIN."""

import asyncio
import hashlib
import os
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from cryptography import x509

from libs.crypto.certificates import certificate_facts
from libs.crypto.cms_reading import ExpectedAttributes, attribute_differences, parse, verify_signature
from libs.crypto.pki import distinguished_name
from libs.gpki_client import CertificateError, Document, Manifest, TokenError
from libs.gpki_client.token import OfficerToken
from libs.runtime.clock import utc_now
from tests.support.officer_token import LABEL, MODULE, P256, PIN, RSA, TokenFolder
from tests.support.pki import Identity, Pki

PKI = Pki(now=utc_now().replace(microsecond=0))
CONTENTS = {f"D{number}": f"Baucar {number}".encode() for number in range(3)}


def manifest() -> Manifest:
    documents = [
        Document(
            id=name, kind="baucar", title="Café „Seri“", payee="Maju", amount="10.00", currency="MYR",
            sha256=hashlib.sha256(content).hexdigest(),
        )
        for name, content in CONTENTS.items()
    ]  # fmt: skip
    named = {"request": "R1", "caller": "igfmas", "system": "iGFMAS", "user": "800101145566", "office": "JANM"}
    return Manifest.of(documents, **named, action="peraku")


@pytest.fixture(scope="module", autouse=True)
def _folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    created = TokenFolder.create(tmp_path_factory.mktemp("token") / "hsm")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(os.environ, "SOFTHSM2_CONF", created.conf)
        yield


@pytest.fixture(params=[RSA, P256])
async def token(request: pytest.FixtureRequest) -> AsyncIterator[OfficerToken]:
    async with await OfficerToken.open(MODULE, LABEL, PIN, key_label=request.param) as opened:
        yield opened


async def certified(token: OfficerToken) -> Identity:
    """As enrolment does it: from the request that the token signed."""
    request = x509.load_der_x509_csr(await token.certification_request(distinguished_name("Pegawai")))
    assert request.is_signature_valid
    assert request.subject == distinguished_name("Pegawai")

    class Certified:
        """The authority only asks a key for its public half."""

        def public_key(self) -> object:
            return request.public_key()

    return PKI.officer(key=Certified())  # type: ignore[arg-type]


async def test_the_platform_and_openssl_accept_what_a_token_signs(token: OfficerToken, tmp_path: Path) -> None:
    officer, asked = await certified(token), manifest()
    signatures = await token.sign_manifest(asked, officer.pem, PKI.chain)
    assert list(signatures) == list(CONTENTS)
    trust = PKI.trust_pem(PKI.crl(PKI.root), PKI.crl())
    for name, content in CONTENTS.items():
        read = parse(signatures[name])
        digest = hashlib.sha256(content).digest()
        expected = ExpectedAttributes(
            document_id=name, digest=digest, action="peraku", system="iGFMAS", root=asked.root
        )
        assert attribute_differences(read, expected) == ()
        assert (read.certificate, read.chain) == (officer.der, PKI.chain)
        assert verify_signature(read, certificate_facts(officer.der).public_key)
        assert abs((utc_now() - read.attributes.signing_time).total_seconds()) < 60
        assert [openssl(tmp_path, signatures[name], told, trust) for told in (content, content + b"x")] == [0, 4]


def openssl(folder: Path, cms: bytes, content: bytes, trust: bytes) -> int:
    for name, data in (("signature.p7s", cms), ("document", content), ("trust.pem", trust)):
        (folder / name).write_bytes(data)
    command = (
        "openssl cms -verify -binary -inform DER -in signature.p7s -content document -CAfile trust.pem "
        "-crl_check_all -purpose any"
    )
    return subprocess.run(command.split(), cwd=folder, capture_output=True, check=False, timeout=20).returncode


async def test_a_certificate_of_another_key_is_not_signed_for(token: OfficerToken) -> None:
    with pytest.raises(CertificateError, match="this token's key"):
        await token.sign_manifest(manifest(), PKI.officer().pem)


async def test_many_at_once_are_signed_one_after_another_on_one_thread(token: OfficerToken) -> None:
    officer = await certified(token)
    found = await asyncio.gather(*(token.sign_manifest(manifest(), officer.pem) for _ in range(8)))
    assert all(verify_signature(parse(cms), officer.certificate.public_key()) for one in found for cms in one.values())


@pytest.mark.parametrize(
    ("label", "pin", "key", "reason"),
    [
        (LABEL, "wrong-pin-canary", RSA, "pin-refused"),
        ("other", PIN, RSA, "token-missing"),
        (LABEL, PIN, "other", "no-key"),
        (LABEL, PIN, None, "no-key"),
    ],
)
async def test_what_cannot_be_used_is_named_shows_no_pin_and_leaves_the_way_free(
    label: str, pin: str, key: str | None, reason: str
) -> None:
    with pytest.raises(TokenError) as raised:
        await OfficerToken.open(MODULE, label, pin, key_label=key)
    assert raised.value.reason == reason
    assert raised.value.__context__ is None
    assert pin not in str(raised.value)
    async with await OfficerToken.open(MODULE, LABEL, PIN, key_label=RSA) as token:
        assert PIN not in repr(token)
        with pytest.raises(TokenError, match="in-use"):
            await OfficerToken.open(MODULE, LABEL, PIN, key_label=RSA)


async def test_a_module_that_is_none_is_named(tmp_path: Path) -> None:
    with pytest.raises(TokenError, match="token-failed"):
        await OfficerToken.open(tmp_path / "no.so", LABEL, PIN)
