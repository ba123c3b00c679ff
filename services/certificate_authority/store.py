"""The authority's tables: every certificate with its end, and the CRLs."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from uuid import UUID

import asyncpg
from cryptography import x509

from libs.contracts.signing import Medium
from libs.crypto.pki import RevokedCertificate, ServicePurpose, Validity
from libs.crypto.service_certificates import ServiceIdentity
from libs.storage.pool import Connection
from libs.storage.queries import load_queries
from services.certificate_authority.issuance import Order, Profile, Refused

MIGRATIONS = Path(__file__).parent / "sql" / "migrations"

_SQL = load_queries(Path(__file__).parent / "sql" / "authority.sql")


@dataclass(frozen=True, slots=True)
class Reserved:
    """An order that stands; `certificate` is None until it is signed and recorded."""

    order: Order
    certificate: bytes | None
    ended_at: datetime | None


@dataclass(frozen=True, slots=True)
class ServiceKey:
    """A certified key of a caller, registrar or producer; `retired_at` is set when another took its place."""

    key_id: str
    profile: Profile
    owner: str
    certificate: bytes
    retired_at: datetime | None


@dataclass(frozen=True, slots=True)
class Officer:
    """What an order on a credential's certificate needs to know of it; `version` is that of its state.

    `suspended_at` stays when a suspension ends by a revocation.
    """

    user: str
    medium: Medium
    certificate: bytes | None
    version: int
    suspended_at: datetime | None
    revoked_at: datetime | None


@dataclass(frozen=True, slots=True)
class CrlHead:
    """A signed CRL without its bytes."""

    number: int
    this_update: datetime
    next_update: datetime
    entries: int
    changes: int


async def reserve(connection: Connection, order: Order) -> Reserved | Refused:
    """Take serial number, key and credential for this order, or find what an earlier, equal one took.

    Waits for a twin that is reserving the same, at most `lock_timeout`.
    """
    await connection.execute(
        _SQL["reserve"],
        order.serial,
        order.profile,
        order.holder,
        order.common_name,
        order.organizational_unit,
        order.serial_number,
        order.public_key,
        order.key_id,
        order.validity.not_before,
        order.validity.not_after,
        order.crl_url,
        order.medium,
        order.offices,
    )
    row = await connection.fetchrow(_SQL["by_key"], order.key_id)
    if row is not None:
        found = _order(row)
        if _subject(found) == _subject(order):
            return Reserved(found, row["certificate"], row["ended_at"])
        return Refused("the key is certified already, in another name or for other offices")
    if order.profile is not Profile.OFFICER:
        return Refused(f"there is a certificate of {order.holder} with another key")
    if await connection.fetchval(_SQL["officer_has_certificate"], order.holder):
        return Refused("the credential has a certificate already, of another key")
    return Refused("the officer has a certificate of this medium already that is not revoked")


async def put_certificate(connection: Connection, serial: bytes, certificate: bytes) -> bytes:
    """Record a signed certificate; returns the one that was recorded first."""
    recorded: bytes = await connection.fetchval(_SQL["put_certificate"], serial, certificate)
    return recorded


async def authorities(connection: Connection) -> dict[Profile, x509.Certificate]:
    """The authorities' own certificates, as far as they were made."""
    rows = await connection.fetch(_SQL["authorities"])
    return {Profile(row["profile"]): x509.load_der_x509_certificate(row["certificate"]) for row in rows}


async def registrars(connection: Connection, key_ids: Sequence[str], at: datetime) -> dict[str, ServiceIdentity]:
    """Those of these keys that a registrar has, not replaced, within the certificate's validity."""
    rows = await connection.fetch(_SQL["registrars"], key_ids)
    return _usable(rows, ServicePurpose.REGISTRAR, at)


async def security_officers(connection: Connection, at: datetime) -> tuple[int, dict[str, ServiceIdentity]]:
    """How many people there ever were, and the keys that they have now, within their certificates' validity."""
    rows = await connection.fetch(_SQL["security_officers"])
    live = [row for row in rows if row["ended_at"] is None]
    return len({row["holder"] for row in rows}), _usable(live, ServicePurpose.SECURITY_OFFICER, at)


async def is_certified(connection: Connection, key_id: str) -> bool:
    """Whether there is a certificate over this key."""
    return bool(await connection.fetchval(_SQL["is_certified"], key_id))


async def retire_others(connection: Connection, order: Order, at: datetime) -> None:
    """Every other key of this owner and profile has been replaced by this one."""
    await connection.execute(_SQL["retire_others"], order.profile, order.holder, order.key_id, at)


async def service_keys(connection: Connection) -> list[ServiceKey]:
    """Every key of a caller, registrar or producer, replaced ones too, by key id."""
    return [
        ServiceKey(row["key_id"], Profile(row["profile"]), row["holder"], row["certificate"], row["ended_at"])
        for row in await connection.fetch(_SQL["service_keys"])
    ]


async def officer_for_update(connection: Connection, credential_id: UUID) -> Officer | None:
    """The certificate of a credential; nobody else changes its state until this transaction ends."""
    row = await connection.fetchrow(_SQL["officer_for_update"], str(credential_id))
    return None if row is None else Officer(*row.values())


async def revoke(connection: Connection, credential_id: UUID, at: datetime, because: x509.ReasonFlags) -> None:
    """End a credential's certificate: a further version of its state, the last."""
    await connection.execute(_SQL["revoke"], str(credential_id), at, because.name)


async def keep_suspension(connection: Connection, suspension: UUID, credential_id: UUID, registrar_key: str) -> bool:
    """Keep an order to suspend; False when it was followed before."""
    kept = await connection.fetchval(_SQL["keep_suspension"], suspension, str(credential_id), registrar_key)
    return kept is not None


async def suspend(connection: Connection, credential_id: UUID, at: datetime) -> datetime:
    """A further version of the state, suspended; returns since when."""
    since: datetime = await connection.fetchval(_SQL["suspend"], str(credential_id), at)
    return since


async def lift(connection: Connection, credential_id: UUID) -> None:
    """A further version of the state, good."""
    await connection.execute(_SQL["lift"], str(credential_id))


async def lock_issuer(connection: Connection, issuer: Profile) -> None:
    """Have the issuer's CRL numbers and lists to ourselves until this transaction ends."""
    await connection.execute(_SQL["lock_issuer"], issuer)


async def changes(connection: Connection, issuer: Profile) -> int:
    """How often a certificate was suspended, lifted or revoked: the looks that find nothing new end here, most do.

    It only rises. Ask for it before `listed`: the list may then say more than it, and never less.
    """
    return 0 if issuer is Profile.ROOT else int(await connection.fetchval(_SQL["changes"]))


async def listed(connection: Connection, issuer: Profile) -> list[RevokedCertificate]:
    """What the issuer's next CRL lists. No authority was ever revoked, so the root's is empty.

    What is suspended is there as certificateHold (RFC 5280 section 5.3.1), and what was lifted is not: removeFromCRL is
    for delta CRLs. What was revoked while it was suspended keeps the date that earlier CRLs said of it.
    """
    if issuer is Profile.ROOT:
        return []
    return [
        RevokedCertificate(int.from_bytes(row["serial"], "big"), row["since"], x509.ReasonFlags[row["because"]])
        for row in await connection.fetch(_SQL["listed"])
    ]


async def take_crl_number(
    connection: Connection, issuer: Profile, validity: Validity, *, entries: int, changes: int
) -> int:
    """Take the next number, which lists so many, as of so many changes; call `lock_issuer` first."""
    number: int = await connection.fetchval(
        _SQL["take_crl_number"], issuer, validity.not_before, validity.not_after, entries, changes
    )
    return number


async def put_crl(connection: Connection, issuer: Profile, number: int, der: bytes) -> None:
    """Record a signed CRL."""
    await connection.execute(_SQL["put_crl"], issuer, number, der)


async def crl_head(connection: Connection, issuer: Profile) -> CrlHead | None:
    """The signed CRL with the highest number."""
    row = await connection.fetchrow(_SQL["crl_head"], issuer)
    return None if row is None else CrlHead(**row)


async def archived_crl(connection: Connection, issuer: Profile, number: int) -> tuple[bytes, datetime] | None:
    """A CRL in DER with its thisUpdate; None when this number was never issued."""
    row = await connection.fetchrow(_SQL["archived_crl"], issuer, number)
    return None if row is None else (row["der"], row["this_update"])


async def crl_der(connection: Connection, issuer: Profile, number: int) -> bytes:
    """The bytes of a signed CRL."""
    der: bytes = await connection.fetchval(_SQL["crl_der"], issuer, number)
    return der


def _usable(rows: Iterable[asyncpg.Record], purpose: ServicePurpose, at: datetime) -> dict[str, ServiceIdentity]:
    found: dict[str, ServiceIdentity] = {}
    for row in rows:
        certificate = x509.load_der_x509_certificate(row["certificate"])
        if certificate.not_valid_before_utc <= at <= certificate.not_valid_after_utc:
            found[row["key_id"]] = ServiceIdentity(
                name=row["holder"],
                purpose=purpose,
                key_id=row["key_id"],
                public_key=certificate.public_key(),
                not_after=certificate.not_valid_after_utc,
                unit=None,
            )
    return found


def _subject(order: Order) -> tuple[object, ...]:
    return (
        order.profile,
        order.holder,
        order.common_name,
        order.organizational_unit,
        order.serial_number,
        order.medium,
        order.offices,
    )


def _order(row: asyncpg.Record) -> Order:
    return Order(
        serial=row["serial"],
        profile=Profile(row["profile"]),
        holder=row["holder"],
        common_name=row["common_name"],
        organizational_unit=row["organizational_unit"],
        serial_number=row["serial_number"],
        public_key=row["public_key"],
        key_id=row["key_id"],
        validity=Validity(row["not_before"], row["not_after"]),
        crl_url=row["crl_url"],
        medium=row["medium"],
        offices=tuple(row["offices"]),
    )
