"""What counts as the signer's own word on `signed`: an officer's signature under the issuing authority."""

from datetime import UTC, datetime
from hashlib import sha256
from uuid import uuid4

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from libs.contracts.signing import Authorisation, Signed
from libs.crypto.cms import CmsTemplate, SignedAttributes
from services.hsm_signer.genuine import is_an_officers
from tests.support.pki import Pki
from tests.support.requests import documents, header, medium_resolved

NOW = datetime(2026, 3, 2, 1, tzinfo=UTC)
PKI, STRANGE = Pki(now=NOW), Pki(now=NOW)


def signed(pki: Pki) -> Signed:
    """A document as the signer publishes it, by an officer of this authority."""
    officer = pki.officer("850312145678")
    assert isinstance(officer.key, ec.EllipticCurvePrivateKey)
    manifest = medium_resolved(header("850312145678"), documents(1), pki.caller()).signed.manifest
    head, (entry,) = manifest.header, manifest.documents
    template = CmsTemplate(officer.der, ())
    attributes = template.signed_attributes(
        SignedAttributes(
            document_id=entry.id,
            digest=entry.digest,
            action=head.action,
            system=head.system,
            root=sha256(b"root").digest(),
            signing_time=NOW,
        )
    )
    return Signed(
        request_id=uuid4(),
        header=head,
        index=0,
        entry=entry,
        path=(),
        authorisation=Authorisation(channel="e-mail", reference_code="AB12"),
        cms=template.assemble(attributes, officer.key.sign(attributes, ec.ECDSA(hashes.SHA256()))),
    )


def test_an_officers_signature_is_genuine_and_nothing_that_a_broker_writer_makes() -> None:
    """I-51: who can only write to the broker stops no signer."""
    genuine = signed(PKI)
    assert is_an_officers(genuine, PKI.issuing.certificate)
    assert not is_an_officers(signed(STRANGE), PKI.issuing.certificate)
    assert not is_an_officers(genuine.model_copy(update={"cms": b"no CMS"}), PKI.issuing.certificate)
    torn = genuine.cms[:-1] + bytes([genuine.cms[-1] ^ 1])
    assert not is_an_officers(genuine.model_copy(update={"cms": torn}), PKI.issuing.certificate)
