"""CRLs: when a new one is due, how it is made, judged before anyone sees it, and kept for every replica."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final, Literal

import structlog
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from libs.bus.outcomes import Park
from libs.bus.work import Work
from libs.contracts.base import Event
from libs.contracts.topics import Topic
from libs.crypto.crl import CrlIndex, CrlInvalid, Revocation, RevocationReason
from libs.crypto.pki import RevokedCertificate, Validity
from libs.hsm.errors import HsmRefused
from libs.runtime import metrics
from libs.runtime.clock import Clock
from libs.storage.pool import Pool
from services.certificate_authority import store
from services.certificate_authority.hsm_token import Token
from services.certificate_authority.issuance import Profile
from services.certificate_authority.store import CrlHead

LOOK: Final = timedelta(seconds=20)
"""How often a replica looks whether a CRL is due; a revocation makes it look at once."""

ISSUERS: Final = (Profile.ROOT, Profile.ISSUING)
"""The authorities with a CRL; service keys are withdrawn by `gpki.keys.v1`."""

log = structlog.get_logger()


class CrlLook(Event):
    """Timer: look whether this issuer's CRL is due. There is one per issuer, which never ends."""

    issuer: Literal["root", "issuing"]

    @property
    def key(self) -> str:
        return self.issuer

    @property
    def uniqueness(self) -> tuple[object, ...]:
        return (self.issuer,)


CRL_LOOK: Final = Topic("timer.certificate-authority.crl", CrlLook, "key")


def is_due(head: CrlHead | None, *, changes: int, now: datetime) -> bool:
    """Whether a CRL must be replaced: a certificate's state changed since, or half of its validity has passed."""
    return (
        head is None or head.changes != changes or now >= head.this_update + (head.next_update - head.this_update) / 2
    )


class Crls:
    """Makes the CRLs of both issuers. Replicas may do so at the same time: each takes a number of its own."""

    def __init__(
        self,
        *,
        service: str,
        pool: Pool,
        token: Token,
        certificates: Mapping[Profile, x509.Certificate],
        validity: timedelta,
        clock: Clock,
    ) -> None:
        self._service = service
        self._pool = pool
        self._token = token
        self._certificates = certificates
        self._validity = validity
        self._clock = clock

    async def look(self, work: Work[CrlLook]) -> None:
        """Handler of the timer: replace what is due, look again later. Raises Unavailable."""
        for issuer in sorted({delivery.event.issuer for delivery in work.deliveries}):
            try:
                await self.refresh(Profile(issuer))
            except (CrlInvalid, HsmRefused) as error:
                # Never poison: the timer would be gone, and with it every later CRL.
                metrics.alarm(self._service, "crl-not-made", issuer=issuer, error=str(error))
        async with work.recording(*work.deliveries) as recording:
            for delivery in recording.deliveries:
                recording.settle(delivery, Park(LOOK, "next look"))

    async def refresh(self, issuer: Profile) -> CrlHead:
        """Make a new CRL if one is due; returns the newest, which says all that was ordered when this was called.

        Number and list are taken under the issuer's lock, so that a higher number never says less. A number whose
        CRL was never signed is a gap, which RFC 5280 section 5.2.3 allows. Raises Unavailable, CrlInvalid, HsmRefused.
        """
        async with self._pool.acquire() as connection, connection.transaction():
            await store.lock_issuer(connection, issuer)
            head = await store.crl_head(connection, issuer)
            changes = await store.changes(connection, issuer)
            now = self._clock().replace(microsecond=0)
            if head is not None and not is_due(head, changes=changes, now=now):
                return head
            revoked = await store.listed(connection, issuer)
            validity = Validity(now, now + self._validity)
            number = await store.take_crl_number(connection, issuer, validity, entries=len(revoked), changes=changes)
        certificate = self._certificates[issuer]
        der = await self._token.sign_crl(issuer, certificate, number=number, validity=validity, revoked=revoked)
        await asyncio.to_thread(lint, der, certificate, number, revoked)
        async with self._pool.acquire() as connection:
            await store.put_crl(connection, issuer, number, der)
        log.info("crl issued", issuer=issuer, number=number, entries=len(revoked))
        return CrlHead(number, validity.not_before, validity.not_after, len(revoked), changes)


def lint(der: bytes, certificate: x509.Certificate, number: int, revoked: Sequence[RevokedCertificate]) -> None:
    """Read a CRL as a relying party does and find in it what was meant. Raises CrlInvalid."""
    index = CrlIndex.parse(der, certificate.public_bytes(Encoding.DER))
    if index.number != number or len(index) != len(revoked):
        raise CrlInvalid("number or entries are not those that were meant")
    if any(index.status(entry.serial) != _meant(entry) for entry in revoked):
        raise CrlInvalid("an entry is missing, or says something else")


def _meant(entry: RevokedCertificate) -> Revocation:
    return Revocation(entry.date, RevocationReason[entry.reason.name.upper()])
