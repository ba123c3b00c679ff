"""Signed and verified documents of test officers: real CMS of the real profile, with software keys."""

import hashlib
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding
from cryptography.hazmat.primitives.serialization import Encoding

from libs.contracts.manifest import Action, Document, Header, Manifest
from libs.contracts.signing import Authorisation, CrlChecked, Medium, Signed, Verified
from libs.contracts.state import Certificate
from libs.crypto.certificates import certificate_facts
from libs.crypto.cms import CmsTemplate, SignedAttributes
from libs.crypto.cms_reading import parse
from tests.support.pki import Identity, Pki, p256_key

SYSTEM = "igfmas"

SIGNED = "SELECT count(*) FROM hsm_signer.document WHERE request_id = $1 AND state = 'signed'"
"""How many of a request."""


@dataclass
class Officer:
    """An officer with a certificate; `state` is what `gpki.certificate.v1` says of it."""

    pki: Pki
    user: str
    identity: Identity[Any]
    credential_id: uuid.UUID = field(default_factory=uuid.uuid4)
    version: int = 0

    def state(
        self, status: Literal["good", "suspended", "revoked"] = "good", *, medium: Medium = "roaming-otp"
    ) -> Certificate:
        """The next version of the certificate's state."""
        self.version += 1
        return Certificate(
            credential_id=self.credential_id,
            user=self.user,
            version=self.version,
            medium=medium,
            status=status,
            certificate=self.identity.der,
            issuer=self.pki.issuing.certificate.public_bytes(Encoding.DER),
            status_since=self.pki.now,
        )

    def cms(self, attributes: SignedAttributes) -> bytes:
        """A signature over exactly these attributes."""
        template = CmsTemplate(self.identity.der, self.pki.chain)
        signed_attributes = template.signed_attributes(attributes)
        key = self.identity.key
        if isinstance(key, ec.EllipticCurvePrivateKey):
            signature = key.sign(signed_attributes, ec.ECDSA(hashes.SHA256()))
        else:
            signature = key.sign(signed_attributes, padding.PKCS1v15(), hashes.SHA256())
        return template.assemble(signed_attributes, signature)


def officer(pki: Pki, user: str | None = None, **options: Any) -> Officer:
    """An officer of a random kad pengenalan, with a P-256 key unless one is given."""
    user = user or f"{uuid.uuid4().int % 10**12:012d}"
    options.setdefault("key", p256_key())
    return Officer(pki, user, pki.officer(user, **options))


def content(document_id: str) -> bytes:
    """The bytes of a document."""
    return f"Baucar {document_id}\n".encode()


def document(document_id: str, *, amount: str = "1250.50", currency: str = "MYR") -> Document:
    """A document's entry in a manifest."""
    return Document(
        id=document_id,
        kind="baucar",
        title="Bayaran pembekal",
        payee="Syarikat Maju Sdn. Bhd.",
        amount=amount,
        currency=currency,
        sha256=hashlib.sha256(content(document_id)).hexdigest(),
    )


def fresh_ids(count: int) -> list[str]:
    """Document ids that nobody used."""
    prefix = uuid.uuid4().hex[:10]
    return [f"{prefix}-{number}" for number in range(count)]


def manifest(user: str, documents: Sequence[Document], *, action: Action = "sah", system: str = SYSTEM) -> Manifest:
    """A request with an id of its own."""
    header = Header(
        request=uuid.uuid4().hex,
        caller="igfmas",
        system=system,
        user=user,
        office="PTJ-001",
        action=action,
        count=str(len(documents)),
    )
    return Manifest(header=header, documents=tuple(documents))


def sign(signer: Officer, asked: Manifest, **changed: Any) -> list[Signed]:
    """What hsm_signer would emit; `changed` replaces attributes before they are signed."""
    commitment = asked.commitment()
    events = []
    for index, entry in enumerate(asked.documents):
        attributes: dict[str, Any] = {
            "document_id": entry.id,
            "digest": entry.digest,
            "action": asked.header.action,
            "system": asked.header.system,
            "root": commitment.root,
            "signing_time": signer.pki.now.replace(microsecond=0),
        }
        events.append(
            Signed(
                request_id=asked.header.request_id,
                header=asked.header,
                index=index,
                entry=entry,
                path=tuple(commitment.paths[index]),
                authorisation=Authorisation(channel="e-mail", reference_code="K7Q2"),
                cms=signer.cms(SignedAttributes(**(attributes | changed))),
            )
        )
    return events


def signed(
    signer: Officer, ids: Sequence[str] | None = None, *, action: Action = "sah", amount: str = "1250.50"
) -> list[Signed]:
    """A request of one officer, signed whole."""
    documents = [document(each, amount=amount) for each in ids or fresh_ids(1)]
    return sign(signer, manifest(signer.user, documents, action=action))


def shaped(asked: Manifest) -> list[Signed]:
    """Its documents in the shape of signed ones, for who looks at no signature and no path."""
    return [
        Signed(
            request_id=asked.header.request_id,
            header=asked.header,
            index=index,
            entry=entry,
            path=(),
            authorisation=Authorisation(channel="e-mail", reference_code="K7Q2"),
            cms=b"a signature",
        )
        for index, entry in enumerate(asked.documents)
    ]


def shapes(count: int) -> list[Signed]:
    """A request of so many documents, in that shape."""
    return shaped(manifest("850101145678", [document(each) for each in fresh_ids(count)]))


def verified(pki: Pki, events: Sequence[Signed], *, at: datetime | None = None) -> list[Verified]:
    """What crl_verifier would emit for good signatures."""
    moment = at or pki.now
    path = [pki.issuing.certificate.public_bytes(Encoding.DER), pki.root.certificate.public_bytes(Encoding.DER)]
    crls = [
        CrlChecked(
            issuer=issuer,
            number=number,
            this_update=pki.now.replace(microsecond=0) - timedelta(minutes=5),
            next_update=pki.now.replace(microsecond=0) + timedelta(days=1),
        )
        for number, issuer in enumerate(("CN=GPKI Issuing CA", "CN=GPKI Root CA"), 1)
    ]
    found = []
    for event in events:
        leaf = parse(event.cms).certificate
        found.append(
            Verified(
                **dict(event),
                certificate_path=tuple(certificate_facts(der).fingerprint.hex() for der in (leaf, *path)),
                crls=tuple(crls),
                signed_at=moment,
                verified_at=moment + timedelta(milliseconds=12),
            )
        )
    return found
