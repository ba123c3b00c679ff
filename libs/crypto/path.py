"""Path validation (RFC 5280 section 6) to one pinned root, with three answers: valid, invalid, cannot tell."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from functools import lru_cache
from itertools import pairwise

from libs.crypto.algorithms import document_algorithm, is_strong
from libs.crypto.certificates import CertificateError, CertificateFacts, certificate_facts, is_issued_by
from libs.crypto.crl import CrlIndex, RevocationReason
from libs.crypto.errors import CryptoError
from libs.crypto.pki import OID_DOCUMENT_SIGNING

MAX_CERTIFICATES = 5
"""Certificates on a path at most, root included."""

_KEPT = 8192
"""Built paths kept at most; the parts that are the same at every time and under every CRL."""

_OFFICER_USAGES = frozenset({OID_DOCUMENT_SIGNING, "1.3.6.1.5.5.7.3.4", "2.5.29.37.0"})
"""Extended key usages, one of which an officer's certificate has if it has any: documents, e-mail, any."""


class InvalidReason(StrEnum):
    """Why a certificate may not be relied on; stable."""

    UNTRUSTED = "certificate-untrusted"
    NOT_YET_VALID = "certificate-not-yet-valid"
    EXPIRED = "certificate-expired"
    REVOKED = "certificate-revoked"
    SUSPENDED = "certificate-suspended"
    KEY_USAGE = "key-usage"


class UnknownReason(StrEnum):
    """Why it cannot be told; the same question may have an answer later."""

    CRL_MISSING = "crl-missing"
    CRL_STALE = "crl-stale"
    CRL_NOT_YET_VALID = "crl-not-yet-valid"


@dataclass(frozen=True, slots=True)
class CheckedCrl:
    """A CRL that the answer rests on."""

    issuer_key_id: bytes
    number: int
    this_update: datetime
    next_update: datetime


@dataclass(frozen=True, slots=True)
class Valid:
    """Certificates from the officer's to the root by SHA-256, and the CRL of each authority in the same order."""

    path: tuple[bytes, ...]
    crls: tuple[CheckedCrl, ...]


@dataclass(frozen=True, slots=True)
class Invalid:
    """No. `revoked_at` is set for revocation and suspension; `certificate` is the SHA-256 of the one at fault."""

    reason: InvalidReason
    certificate: bytes | None = None
    revoked_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Unknown:
    """Cannot tell. `issuer_key_id` names the authority whose CRL is wanted."""

    reason: UnknownReason
    issuer_key_id: bytes


class PathError(CryptoError):
    """A root that cannot anchor a path."""


class PathValidator:
    """Validates officers' certificates under one root. May be shared by threads; keeps built paths, never answers."""

    def __init__(self, root: bytes) -> None:
        """Pin a self-signed root in DER. Raises PathError."""
        try:
            facts = certificate_facts(root)
        except CertificateError:
            raise PathError("not a certificate") from None
        if not is_issued_by(facts, facts) or not may_issue(facts, below=0):
            raise PathError("not a self-signed authority")
        self._root = facts
        self._path = lru_cache(maxsize=_KEPT)(self._build)

    def validate(
        self,
        certificate: bytes,
        chain: Sequence[bytes],
        crls: Mapping[bytes, CrlIndex],
        *,
        at: datetime,
        now: datetime | None = None,
    ) -> Valid | Invalid | Unknown:
        """Judge a certificate with the DER certificates that came with it and CRLs by issuer key id.

        Validity is judged at `at` (the broker's time), freshness of CRLs at `now`, by default the same: a CRL newer
        than `at` is welcome. A listed certificate is revoked whatever the date of its entry, also in a CRL that is
        stale, because revocation is final; a hold in a stale CRL may have been lifted and is "cannot tell". Invalid
        goes before Unknown: one certificate at fault is enough. Numbers that go down are the caller's to refuse.
        """
        path = self._path(certificate, tuple(chain))
        if isinstance(path, InvalidReason):
            return Invalid(path)
        for facts in path:
            if at < facts.not_before:
                return Invalid(InvalidReason.NOT_YET_VALID, facts.fingerprint)
            if at > facts.not_after:
                return Invalid(InvalidReason.EXPIRED, facts.fingerprint)
        unknown: Unknown | None = None
        checked = []
        for child, issuer in pairwise(path):
            answer = _revocation(child, issuer, crls, now or at)
            if isinstance(answer, Invalid):
                return answer
            if isinstance(answer, Unknown):
                unknown = unknown or answer
            else:
                checked.append(answer)
        return unknown or Valid(tuple(facts.fingerprint for facts in path), tuple(checked))

    def _build(self, certificate: bytes, chain: tuple[bytes, ...]) -> tuple[CertificateFacts, ...] | InvalidReason:
        try:
            leaf = certificate_facts(certificate)
            path = (leaf, *self._climb(leaf, _readable(chain)))
        except CertificateError:
            return InvalidReason.UNTRUSTED
        if any(facts.unknown_critical or not facts.strong_signature for facts in path):
            return InvalidReason.UNTRUSTED
        if not all(is_strong(facts.public_key) for facts in path) or document_algorithm(leaf.public_key) is None:
            return InvalidReason.UNTRUSTED
        return path if _may_sign_documents(leaf) else InvalidReason.KEY_USAGE

    def _climb(self, leaf: CertificateFacts, chain: list[CertificateFacts]) -> Iterator[CertificateFacts]:
        child = leaf
        for below in range(MAX_CERTIFICATES - 1):
            candidates = (self._root, *chain)
            issuer = next((one for one in candidates if one is not child and is_issued_by(child, one)), None)
            if issuer is None or not may_issue(issuer, below=below):
                break
            yield issuer
            if issuer.fingerprint == self._root.fingerprint:
                return
            child = issuer
        raise CertificateError("no path to the root")


def may_issue(facts: CertificateFacts, *, below: int) -> bool:
    """Whether a certificate is an authority that may have `below` authorities under it on a path."""
    usage = facts.key_usage
    if not facts.is_ca or usage is None or not (usage.key_cert_sign and usage.crl_sign):
        return False
    return facts.path_length is None or below <= facts.path_length


def _may_sign_documents(facts: CertificateFacts) -> bool:
    usage = facts.key_usage
    if facts.is_ca or usage is None or not usage.digital_signature or not usage.content_commitment:
        return False
    return facts.extended_key_usage is None or bool(facts.extended_key_usage & _OFFICER_USAGES)


def _readable(chain: Sequence[bytes]) -> list[CertificateFacts]:
    found = []
    for der in chain[:MAX_CERTIFICATES]:
        try:
            found.append(certificate_facts(der))
        except CertificateError:
            continue  # what is of no use to the path does no harm to it
    return found


def _revocation(
    child: CertificateFacts, issuer: CertificateFacts, crls: Mapping[bytes, CrlIndex], now: datetime
) -> CheckedCrl | Invalid | Unknown:
    key_id = issuer.key_id or b""
    crl = crls.get(key_id)
    # A key identifier is only a claim of whoever made the certificate: the CRL must be of this very key and name.
    if crl is None or crl.issuer_spki_sha256 != issuer.spki_sha256 or crl.issuer != issuer.subject:
        return Unknown(UnknownReason.CRL_MISSING, key_id)
    stale = now > crl.next_update
    revocation = crl.status(child.serial)
    if revocation is not None:
        if revocation.reason is not RevocationReason.CERTIFICATE_HOLD:
            return Invalid(InvalidReason.REVOKED, child.fingerprint, revocation.date)
        if not stale:
            return Invalid(InvalidReason.SUSPENDED, child.fingerprint, revocation.date)
    if stale:
        return Unknown(UnknownReason.CRL_STALE, key_id)
    if now < crl.this_update:
        return Unknown(UnknownReason.CRL_NOT_YET_VALID, key_id)
    return CheckedCrl(crl.issuer_key_id, crl.number, crl.this_update, crl.next_update)
