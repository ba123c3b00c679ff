"""Is this signature good: three answers, good, no and cannot tell, each with what it rests on (design section 5)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import assert_never

from libs.contracts.document_signature import (
    CheckedSignature,
    SignedDocument,
    check_registration,
    check_signature,
)
from libs.contracts.reasons import Reason
from libs.contracts.signing import CrlChecked, Medium
from libs.contracts.state import Certificate
from libs.crypto.crl import CrlIndex
from libs.crypto.path import Invalid, InvalidReason, PathValidator, Unknown, UnknownReason, Valid
from services.crl_verifier.authorities import Authority

_REASONS = {
    InvalidReason.UNTRUSTED: Reason.CERTIFICATE_UNKNOWN,
    InvalidReason.NOT_YET_VALID: Reason.CERTIFICATE_NOT_YET_VALID,
    InvalidReason.EXPIRED: Reason.CERTIFICATE_EXPIRED,
    InvalidReason.REVOKED: Reason.CERTIFICATE_REVOKED,
    InvalidReason.KEY_USAGE: Reason.CERTIFICATE_MISMATCH,
}
"""Why a path does not hold, as a reason code."""


@dataclass(frozen=True, slots=True)
class Good:
    """The certificates on the path, by SHA-256 in hex, the CRL of each authority on it, and when they were current."""

    certificate_path: tuple[str, ...]
    crls: tuple[CrlChecked, ...]
    verified_at: datetime


@dataclass(frozen=True, slots=True)
class CannotTell:
    """There may be an answer later: with a current CRL."""

    why: UnknownReason


Answer = Good | Reason | CannotTell


@dataclass(frozen=True, slots=True)
class Judged:
    """A signature that holds, whose certificate it is, and what the path and the CRLs say of it."""

    fingerprint: bytes
    answer: Answer


class Verification:
    """Judges signatures under one root. Pure but for what it remembers of certificates; any thread."""

    def __init__(self, root: Authority, issuing: Authority) -> None:
        """Pin the tree. Raises PathError for a root that is none."""
        self._paths = PathValidator(root.certificate)
        self._chain = (issuing.certificate,)  # what came in the CMS is not needed, and not asked
        self._subjects = {authority.key_id: authority.subject for authority in (root, issuing)}

    def judge(
        self, documents: Sequence[tuple[SignedDocument, datetime]], crls: Mapping[bytes, CrlIndex], now: datetime
    ) -> list[Judged | Reason]:
        """Judge (document, broker's time of its event), in order; a Reason is a signature that does not hold.

        Validity is judged at the broker's time, CRLs at `now`. About 150 µs a document: call it off the event loop.
        """
        return [self._judge(signed, at, crls, now) for signed, at in documents]

    def _judge(
        self, signed: SignedDocument, at: datetime, crls: Mapping[bytes, CrlIndex], now: datetime
    ) -> Judged | Reason:
        checked = check_signature(signed)
        if not isinstance(checked, CheckedSignature):
            return checked
        found = self._paths.validate(checked.certificate, self._chain, crls, at=at, now=now)
        return Judged(checked.fingerprint, self._answer(found, now))

    def _answer(self, found: Valid | Invalid | Unknown, now: datetime) -> Answer:
        match found:
            case Valid(path, crls):
                return Good(
                    tuple(fingerprint.hex() for fingerprint in path),
                    tuple(
                        CrlChecked(
                            issuer=self._subjects[crl.issuer_key_id],
                            number=crl.number,
                            this_update=crl.this_update,
                            next_update=crl.next_update,
                        )
                        for crl in crls
                    ),
                    now,
                )
            case Invalid(InvalidReason.SUSPENDED):
                # Whether it is so now, the state says; until both agree, one of them is behind the other.
                return CannotTell(UnknownReason.CRL_STALE)
            case Invalid(reason):
                return _REASONS[reason]
            case Unknown(why):
                return CannotTell(why)
            case _:
                assert_never(found)


def decide(signed: SignedDocument, judged: Judged | Reason, registered: Certificate | None, medium: Medium) -> Answer:
    """The answer, with our own copy of the certificate's state: it counts at once, whatever the CRL says."""
    if isinstance(judged, Reason):
        return judged
    return check_registration(signed, registered, medium) or judged.answer
