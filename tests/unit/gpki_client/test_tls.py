"""A caller's connection: whose certificate it believes, which it shows, and what is wrong when it cannot."""

import ssl
from pathlib import Path

import pytest

from libs.gpki_client import CertificateError, tls_context
from tests.support.pki import Pki
from tests.support.tls import Tls


@pytest.fixture
def tls(tmp_path: Path) -> Tls:
    return Tls.make(tmp_path)


def test_a_server_is_believed_only_from_the_authority_that_was_handed_over_and_for_its_host(tls: Tls) -> None:
    context = tls_context(tls.root)
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)
    assert len(context.get_ca_certs()) == 1
    assert context.minimum_version == ssl.TLSVersion.TLSv1_3


def test_a_certificate_without_its_own_key_is_refused(tls: Tls, tmp_path: Path) -> None:
    pki = Pki()
    own, other = pki.caller(), tls.file(pki.caller("etanah"))
    certificate = tmp_path / "caller.pem"
    certificate.write_bytes(own.pem)
    with pytest.raises(CertificateError, match="MISMATCH"):
        tls_context(tls.root, certificate=certificate, key=other)
    tls_context(tls.root, certificate=certificate, key=tls.file(own))


@pytest.mark.parametrize("content", [b"", b"-----BEGIN NOTHING-----"])
def test_files_that_hold_no_certificate_are_refused(tls: Tls, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x").write_bytes(content)
    with pytest.raises(CertificateError):
        tls_context(tmp_path / "x")
    with pytest.raises(CertificateError):
        tls_context(tls.root, certificate=tmp_path / "x")
    with pytest.raises(FileNotFoundError):
        tls_context(tmp_path / "none")
