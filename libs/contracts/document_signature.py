"""Whether a signed document speaks for itself: root, attributes, signature, registered certificate (design section 5).

crl_verifier and posting both ask, each from its own copy of the state: neither believes the other.
"""

from dataclasses import dataclass

from libs.contracts.manifest import root_of_document
from libs.contracts.reasons import Reason
from libs.contracts.signing import Authorisation, Medium, Signed
from libs.contracts.state import Certificate
from libs.contracts.token_route import TokenSigned
from libs.crypto.certificates import certificate_facts
from libs.crypto.cms import CmsError
from libs.crypto.cms_reading import (
    ExpectedAttributes,
    attribute_differences,
    parse,
    parse_expected,
    verify_signature,
)

ROAMING: Medium = "roaming-otp"
TOKEN: Medium = "token"  # noqa: S105 (a medium, no secret)
"""The medium of what comes on `signed`, and of what comes on `token-signed`."""

SignedDocument = Signed | TokenSigned
"""A document's signature, whoever made it."""

_REASONS = {
    "attributes-missing": Reason.ATTRIBUTES_MISSING,
    "attributes-invalid": Reason.ATTRIBUTES_MISMATCH,
    "certificate-mismatch": Reason.CERTIFICATE_MISMATCH,
}
"""What `parse` says, as a reason code; `malformed` and `algorithm-unsupported` are no signature of ours."""


@dataclass(frozen=True, slots=True)
class CheckedSignature:
    """A signature that holds over this document under this root; whose certificate it is, is not judged yet."""

    certificate: bytes
    fingerprint: bytes
    root: bytes


def check_signature(signed: SignedDocument) -> CheckedSignature | Reason:
    """Compute the root from header, entry, index and path, compare every signed attribute, verify the signature.

    Pure CPU, about 130 µs: call it per slice, off the event loop. Any thread.
    """
    try:
        root = root_of_document(signed.header, signed.entry, signed.index, signed.path)
    except ValueError:  # index or path that no tree of this size has: there is no root that this could be under
        return Reason.ATTRIBUTES_MISMATCH
    expected = ExpectedAttributes(
        document_id=signed.entry.id,
        digest=signed.entry.digest,
        action=signed.header.action,
        system=signed.header.system,
        root=root,
    )
    document = parse_expected(signed.cms, expected)
    if document is None:
        try:
            document = parse(signed.cms)
        except CmsError as error:
            return _REASONS.get(error.reason, Reason.SIGNATURE_INVALID)
        if attribute_differences(document, expected):
            return Reason.ATTRIBUTES_MISMATCH
    facts = certificate_facts(document.certificate)
    if not verify_signature(document, facts.public_key):
        return Reason.SIGNATURE_INVALID
    return CheckedSignature(document.certificate, facts.fingerprint, root)


def medium_of(authorisation: Authorisation) -> Medium:
    """The medium whose certificate alone may have signed under this authorisation."""
    return TOKEN if authorisation.channel == "token" else ROAMING


def check_registration(signed: SignedDocument, registered: Certificate | None, medium: Medium) -> Reason | None:
    """Whether the certificate that signed is this user's, of this medium, and good; None when it is.

    `registered` is the state of exactly that certificate, None when nobody registered it (yet: park once).
    """
    if registered is None:
        return Reason.CERTIFICATE_UNKNOWN
    if registered.user != signed.header.user or registered.medium != medium:
        return Reason.CERTIFICATE_MISMATCH
    return registered.refusal
