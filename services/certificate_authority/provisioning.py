"""`python -m services.certificate_authority.provisioning` makes the authorities' keys and certificates, and answers
the service keys that ask for theirs in `pki_dir`.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import structlog
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from libs.bus.security_officers import IN_OFFICE
from libs.crypto.certificates import UNREADABLE
from libs.crypto.pki import SubjectKey, requested_key
from libs.runtime.clock import Clock
from libs.runtime.health import Health
from libs.runtime.process import run
from libs.runtime.secret_files import publish
from libs.runtime.settings import ConfigurationError
from libs.storage.migrations import LEDGER_MIGRATIONS
from libs.storage.pool import Pool
from libs.storage.service import service_database
from services.certificate_authority import orders, store
from services.certificate_authority.crls import ISSUERS, Crls
from services.certificate_authority.hsm_token import NotProvisioned, Token
from services.certificate_authority.issuance import (
    AUTHORITIES,
    VALIDITY,
    Order,
    Profile,
    Refused,
    crl_url,
    new_serial,
    order_for,
    permits,
    validity,
)
from services.certificate_authority.settings import Settings

PURPOSES: Final = (
    *(Profile.SEALING_AUTHORITY, Profile.CALLER, Profile.REGISTRAR, Profile.PRODUCER),
    Profile.SECURITY_OFFICER,
)
"""Folders of `requests/` and `certificates/`; security officers last, so that what comes with the first two of them is
answered as they found it.
"""

FILES: Final = {
    Profile.ROOT: "root.pem",
    Profile.ISSUING: "issuing.pem",
    Profile.SERVICE_ROOT: "service_root.pem",
}

_OWNER: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_REQUEST: Final = ".csr.pem"

log = structlog.get_logger()


class RequestRefused(ConfigurationError):
    """A request in `pki_dir` that may not be answered; the text names the file and what to change."""

    def __init__(self, text: str) -> None:
        super().__init__([text])


@dataclass(frozen=True)
class Request:
    """A certification request of a service, by its file."""

    purpose: Profile
    owner: str
    file: Path


async def initialise(settings: Settings, _health: Health, *, clock: Clock | None = None) -> None:
    """Make what is missing, leave what is there; may run beside the service, and again after any interruption.

    Raises NotProvisioned when token and database do not belong together, RequestRefused, Unavailable.
    """
    async with (
        Token.open(settings) as token,
        service_database(settings, [LEDGER_MIGRATIONS, store.MIGRATIONS]) as (pool, shared),
    ):
        clock = clock or shared
        provisioning = Provisioning(settings, pool, token, clock)
        certificates = await provisioning.authorities()
        for authority, certificate in certificates.items():
            publish(settings.pki_dir / FILES[authority], certificate.public_bytes(Encoding.PEM))
        for request in requests_in(settings.pki_dir):
            chain = await provisioning.answer(request, certificates[Profile.SERVICE_ROOT])
            publish(settings.pki_dir / "certificates" / request.purpose / f"{request.owner}.pem", chain)
        crls = Crls(
            service=settings.service,
            pool=pool,
            token=token,
            certificates=certificates,
            validity=settings.crl_validity,
            clock=clock,
        )
        for issuer in ISSUERS:
            await crls.refresh(issuer)


class Provisioning:
    """Orders, signs and records one certificate at a time, each step repeatable."""

    def __init__(self, settings: Settings, pool: Pool, token: Token, clock: Clock) -> None:
        self._settings = settings
        self._pool = pool
        self._token = token
        self._clock = clock

    async def authorities(self) -> dict[Profile, x509.Certificate]:
        """The authorities' certificates over the keys in the token, made where missing. Raises NotProvisioned."""
        async with self._pool.acquire() as connection:
            known = await store.authorities(connection)
        for authority in AUTHORITIES:
            if authority in known:
                continue  # its key must be there: to make one now would hide that the token was lost
            await self._token.ensure_key(authority)
            issuer = None if authority.issuer is authority else known[authority.issuer]
            order = self._order_authority(authority, await self._token.public_key(authority), issuer)
            known[authority] = x509.load_der_x509_certificate(await self._certify(order, issuer, NotProvisioned))
        await self._token.require(known)
        return known

    async def answer(self, request: Request, service_root: x509.Certificate) -> bytes:
        """The certificate chain for a service's request in PEM, up to, not including, the service root.

        A new key of the same owner takes the place of the older ones. Raises RequestRefused.
        """
        public_key = _key_in(request.file)
        if not permits(request.purpose, public_key):
            raise RequestRefused(f"{request.file}: {request.purpose} does not allow this kind of key")
        unit, offices = None, frozenset[str]()
        if request.purpose is Profile.CALLER:
            offices = self._settings.caller_offices.get(request.owner, offices)
            unit = self._settings.caller_systems.get(request.owner)
            if unit is None:
                raise RequestRefused(f"{request.file}: GPKI_CALLER_SYSTEMS names no system for {request.owner}")
        order = order_for(
            request.purpose,
            public_key,
            holder=request.owner,
            common_name=request.owner,
            organizational_unit=unit,
            offices=offices,
            serial=new_serial(),
            validity=validity(self._clock(), VALIDITY[request.purpose], service_root),
        )
        await self._require_two(request, order)
        try:
            der = await self._certify(order, service_root, RequestRefused)
        except RequestRefused as error:
            raise RequestRefused(f"{request.file}: {error}") from error
        async with self._pool.acquire() as connection:
            await store.retire_others(connection, order, self._clock())
        return x509.load_der_x509_certificate(der).public_bytes(Encoding.PEM)

    async def _require_two(self, request: Request, order: Order) -> None:
        """Raise RequestRefused unless two security officers ordered this, or the key is certified already.

        Until there were two of them, at the ceremony that makes the authorities, there is nobody to ask.
        """
        async with self._pool.acquire() as connection:
            if await store.is_certified(connection, order.key_id):
                return  # as it was ordered: `reserve` refuses another name and other offices
            people, keys = await store.security_officers(connection, self._clock())
        if people < IN_OFFICE:
            log.warning("certified without an order", profile=order.profile, holder=order.holder)
            return
        fault = orders.fault(orders.read(request.file, request.owner), order, keys)
        if fault is not None:
            raise RequestRefused(f"{request.file}: {fault}")

    def _order_authority(self, authority: Profile, key: SubjectKey, issuer: x509.Certificate | None) -> Order:
        name = AUTHORITIES[authority].common_name
        return order_for(
            authority,
            key,
            holder=name,
            common_name=name,
            serial=new_serial(),
            validity=validity(self._clock(), VALIDITY[authority], issuer),
            crl_url=None if issuer is None else crl_url(self._settings.crl_base_url, authority.issuer),
        )

    async def _certify(self, order: Order, issuer: x509.Certificate | None, refusal: type[Exception]) -> bytes:
        async with self._pool.acquire() as connection:
            reserved = await store.reserve(connection, order)
        if isinstance(reserved, Refused):
            raise refusal(reserved.detail)
        if reserved.ended_at is not None:
            raise refusal("this key was replaced by another and does not come back: make a new one")
        if reserved.certificate is not None:
            return reserved.certificate
        signed = await self._token.sign_certificate(reserved.order, issuer)
        async with self._pool.acquire() as connection:
            der = await store.put_certificate(connection, reserved.order.serial, signed)
        log.info("certificate issued", profile=order.profile, holder=order.holder, serial=order.serial.hex())
        return der


def requests_in(pki_dir: Path) -> Iterator[Request]:
    """Every request of a known purpose, in order. Raises RequestRefused for an owner that is no name."""
    for purpose in PURPOSES:
        for file in sorted((pki_dir / "requests" / purpose).glob(f"*{_REQUEST}")):
            owner = file.name.removesuffix(_REQUEST)
            if not _OWNER.fullmatch(owner):
                raise RequestRefused(f"{file}: the file's name is no owner's")
            yield Request(purpose, owner, file)


def _key_in(file: Path) -> SubjectKey:
    try:
        return requested_key(x509.load_pem_x509_csr(file.read_bytes()).public_bytes(Encoding.DER))
    except UNREADABLE as error:  # PkiError is a ValueError
        raise RequestRefused(f"{file}: no valid certification request") from error


if __name__ == "__main__":
    raise SystemExit(run(Settings, initialise))
