"""A certificate revocation list (RFC 5280 section 5) as a packed sorted index: a million entries in 25 MB."""

from __future__ import annotations  # array is generic for type checkers only

from array import array
from bisect import bisect_left
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import IntEnum
from typing import Self

from libs.crypto.algorithms import CA_ALGORITHMS
from libs.crypto.certificates import CertificateError, CertificateFacts, certificate_facts
from libs.crypto.crl_entries import KEY_SIZE, SERIAL_SIZE, VALUE_SIZE, pack_entries, seconds
from libs.crypto.der import (
    BIT_STRING,
    CONTEXT_0,
    INTEGER,
    OCTET_STRING,
    OID,
    SEQUENCE,
    DerError,
    elements,
    encode_oid,
    expect,
    only,
    read,
)
from libs.crypto.errors import CryptoError

_VERSION_2 = bytes((2, 1, 1))
_CRL_NUMBER = encode_oid("2.5.29.20")
_AUTHORITY_KEY_ID = encode_oid("2.5.29.35")
_PROCESSED = {_CRL_NUMBER, _AUTHORITY_KEY_ID}
_TRUE = b"\xff"
_BOOLEAN = 0x01
_KEY_IDENTIFIER = 0x80  # [0] IMPLICIT, the first choice of AuthorityKeyIdentifier
_MAX_NUMBER_SIZE = 20


class CrlInvalid(CryptoError):
    """A CRL that may not be believed; the text names the rule."""


class RevocationReason(IntEnum):
    """CRLReason (RFC 5280 section 5.3.1); removeFromCRL is of delta CRLs and not accepted."""

    UNSPECIFIED = 0
    KEY_COMPROMISE = 1
    CA_COMPROMISE = 2
    AFFILIATION_CHANGED = 3
    SUPERSEDED = 4
    CESSATION_OF_OPERATION = 5
    CERTIFICATE_HOLD = 6
    PRIVILEGE_WITHDRAWN = 9
    AA_COMPROMISE = 10


@dataclass(frozen=True, slots=True)
class Revocation:
    """When a certificate was revoked (UTC) and why; CERTIFICATE_HOLD means suspended, which can be lifted."""

    date: datetime
    reason: RevocationReason


@dataclass(frozen=True, slots=True, eq=False)
class CrlIndex:
    """One CRL whose signature was checked. Times are UTC; whether they are in order and current is the caller's check.

    Immutable. `number` is for the caller's store, which must refuse one lower than it has seen; `issuer_spki_sha256`
    names the issuer's key beyond doubt, `issuer_key_id` is the identifier that its certificates carry.
    """

    issuer: bytes
    issuer_key_id: bytes
    issuer_spki_sha256: bytes
    number: int
    this_update: datetime
    next_update: datetime
    keys: array[int]
    values: bytes

    @classmethod
    def parse(cls, der: bytes, issuer_certificate: bytes) -> Self:
        """Check a complete, direct CRL against its issuer's certificate and index it. Raises CrlInvalid.

        Checked: version, signature and its algorithm, issuer name, cRLSign, authority key identifier, CRL number,
        thisUpdate before nextUpdate, no critical extension that is not understood (delta, indirect and partitioned CRLs
        are so refused), every entry. Blocks a few seconds for a million entries: call it off the event loop.
        """
        try:
            return cls._parse(der, certificate_facts(issuer_certificate))
        except DerError as error:
            reason = str(error)
        except CertificateError:
            reason = "issuer certificate"
        raise CrlInvalid(reason)

    def status(self, serial: int) -> Revocation | None:
        """The revocation of a serial number, the earliest if it stands twice; None when it is not revoked."""
        if not 0 < serial < 1 << 8 * SERIAL_SIZE:
            return None
        data = serial.to_bytes(SERIAL_SIZE, "big")
        key, high = int.from_bytes(data[-KEY_SIZE:], "big"), data[:-KEY_SIZE]
        place = bisect_left(self.keys, key)
        while place < len(self.keys) and self.keys[place] == key:
            value = self.values[place * VALUE_SIZE : (place + 1) * VALUE_SIZE]
            if value.startswith(high):
                date = datetime.fromtimestamp(int.from_bytes(value[-5:-1], "big"), UTC)
                return Revocation(date, RevocationReason(value[-1]))
            place += 1
        return None

    def __len__(self) -> int:
        return len(self.keys)

    @classmethod
    def _parse(cls, der: bytes, issuer: CertificateFacts) -> Self:
        at, end = only(der, 0, len(der), SEQUENCE)
        start, stop = expect(der, at, end, SEQUENCE)
        _, algorithm_stop = expect(der, stop, end, SEQUENCE)
        algorithm = der[stop:algorithm_stop]
        signature = _bits(der, *only(der, algorithm_stop, end, BIT_STRING))
        _check_signature(issuer, algorithm, signature, memoryview(der)[at:stop])

        _, version_stop = expect(der, start, stop, INTEGER)
        _, inner_stop = expect(der, version_stop, stop, SEQUENCE)
        if der[start:version_stop] != _VERSION_2 or der[version_stop:inner_stop] != algorithm:
            raise CrlInvalid("version or algorithm")
        _, name_stop = expect(der, inner_stop, stop, SEQUENCE)
        if der[inner_stop:name_stop] != issuer.subject:
            raise CrlInvalid("issuer name")
        this_update, place = _time(der, name_stop, stop)
        next_update, place = _time(der, place, stop)
        if this_update >= next_update:
            raise CrlInvalid("thisUpdate not before nextUpdate")
        entries, place = _optional(der, place, stop, SEQUENCE)
        extensions, place = _optional(der, place, stop, CONTEXT_0)
        if extensions is None or place != stop:
            raise CrlInvalid("extensions")
        key_id, number = _extensions(der, *only(der, *extensions, SEQUENCE))
        if key_id != issuer.key_id:
            raise CrlInvalid("authority key identifier")
        keys, values = pack_entries(der, *(entries or (stop, stop)))
        return cls(
            issuer=issuer.subject,
            issuer_key_id=key_id,
            issuer_spki_sha256=issuer.spki_sha256,
            number=number,
            this_update=this_update,
            next_update=next_update,
            keys=keys,
            values=values,
        )


def _check_signature(issuer: CertificateFacts, algorithm: bytes, signature: bytes, signed: memoryview) -> None:
    usage = issuer.key_usage
    if not issuer.is_ca or usage is None or not usage.crl_sign:
        raise CrlInvalid("issuer may not sign CRLs")
    accepted = CA_ALGORITHMS.get(algorithm)
    if accepted is None:
        raise CrlInvalid("signature algorithm")
    if not accepted.verify(issuer.public_key, signature, signed):
        raise CrlInvalid("signature")


def _bits(der: bytes, start: int, stop: int) -> bytes:
    if der[start : start + 1] != b"\0":
        raise CrlInvalid("signature")
    return der[start + 1 : stop]


def _time(der: bytes, at: int, end: int) -> tuple[datetime, int]:
    tag, start, stop = read(der, at, end)
    return datetime.fromtimestamp(seconds(tag, der[start:stop]), UTC), stop


def _optional(der: bytes, at: int, end: int, tag: int) -> tuple[tuple[int, int] | None, int]:
    if at < end and der[at] == tag:
        start, stop = expect(der, at, end, tag)
        return (start, stop), stop
    return None, at


def _extensions(der: bytes, at: int, end: int) -> tuple[bytes, int]:
    """Authority key identifier and CRL number."""
    values: dict[bytes, bytes] = {}
    for tag, _, start, stop in elements(der, at, end):
        parts = elements(der, start, stop)
        kinds = [part[0] for part in parts]
        if tag != SEQUENCE or kinds not in ([OID, OCTET_STRING], [OID, _BOOLEAN, OCTET_STRING]):
            raise CrlInvalid("extensions")
        oid = der[parts[0][1] : parts[0][3]]
        critical = len(parts) == 3 and der[parts[1][2] : parts[1][3]] == _TRUE
        if oid in values or (critical and oid not in _PROCESSED):
            raise CrlInvalid("critical or repeated extension")
        values[oid] = der[parts[-1][2] : parts[-1][3]]
    if not values.keys() >= _PROCESSED:
        raise CrlInvalid("CRL number or authority key identifier missing")
    return _key_id(values[_AUTHORITY_KEY_ID]), _number(values[_CRL_NUMBER])


def _key_id(value: bytes) -> bytes:
    start, stop = expect(value, *only(value, 0, len(value), SEQUENCE), _KEY_IDENTIFIER)
    return value[start:stop]


def _number(value: bytes) -> int:
    start, stop = only(value, 0, len(value), INTEGER)
    if not 0 < stop - start <= _MAX_NUMBER_SIZE or value[start] >= 0x80:
        raise CrlInvalid("CRL number")
    return int.from_bytes(value[start:stop], "big")
