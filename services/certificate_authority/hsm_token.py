"""The authorities' keys in their HSM token: what is signed there, and "could not be asked" as the loop says it."""

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Final

from cryptography import x509

from libs.bus.outcomes import Unavailable
from libs.crypto.pki import Issuer, RevokedCertificate, SubjectKey, Validity, build_crl
from libs.crypto.public_keys import spki
from libs.hsm.errors import HsmUnavailable
from libs.hsm.hsm import Hsm
from libs.hsm.settings import open_hsm
from services.certificate_authority.issuance import AUTHORITIES, Order, Profile, build
from services.certificate_authority.settings import Settings

HSM: Final = "hsm"
"""The dependency's name in `Unavailable`."""


class NotProvisioned(Exception):
    """Token and database do not belong together, or `init` never ran: a person must look, nothing is made anew."""


class Token:
    """Signs with the authorities' keys. Every method raises Unavailable("hsm") when the HSM could not be asked."""

    def __init__(self, hsm: Hsm) -> None:
        self._hsm = hsm

    @classmethod
    @asynccontextmanager
    async def open(cls, settings: Settings) -> AsyncIterator["Token"]:
        """Log in; log out at the end. Raises HsmUnavailable, HsmLoginRefused."""
        async with open_hsm(settings) as hsm:
            yield cls(hsm)

    async def ensure_key(self, authority: Profile) -> None:
        """Make an authority's key unless it is there."""
        key = AUTHORITIES[authority]
        with _asking():
            if key.rsa_bits is None:
                await self._hsm.ensure_p256_key(key.label)
            else:
                await self._hsm.ensure_rsa_key(key.label, key.rsa_bits)

    async def public_key(self, authority: Profile) -> SubjectKey:
        """The public half of an authority's key."""
        with _asking():
            return await self._hsm.with_private_key(AUTHORITIES[authority].label, lambda key: key.public_key())

    async def sign_certificate(self, order: Order, issuer: x509.Certificate | None) -> bytes:
        """The certificate that was ordered, in DER; `issuer` is None for a root."""
        label = AUTHORITIES[order.profile.issuer].label
        with _asking():
            return await self._hsm.with_private_key(label, lambda key: build(order, key, issuer))

    async def sign_crl(
        self,
        authority: Profile,
        certificate: x509.Certificate,
        *,
        number: int,
        validity: Validity,
        revoked: Sequence[RevokedCertificate],
    ) -> bytes:
        """A complete CRL in DER."""
        with _asking():
            return await self._hsm.with_private_key(
                AUTHORITIES[authority].label,
                lambda key: build_crl(
                    Issuer(certificate, key),
                    number=number,
                    this_update=validity.not_before,
                    next_update=validity.not_after,
                    revoked=revoked,
                ),
            )

    async def probe(self) -> None:
        """Ask for a key."""
        await self.public_key(Profile.ISSUING)

    async def require(self, authorities: Mapping[Profile, x509.Certificate]) -> None:
        """Every authority has its certificate, over the key in this token. Raises NotProvisioned.

        A token that was made anew beside an old database would else sign what no certificate of ours verifies.
        """
        for authority, key in AUTHORITIES.items():
            if authority not in authorities:
                remedy = "run `python -m services.certificate_authority.provisioning`"
                raise NotProvisioned(f"{key.common_name} has no certificate: {remedy}")
            certified = authorities[authority].public_key()
            if spki(certified) != spki(await self.public_key(authority)):
                raise NotProvisioned(f"the token's key {key.label} is not that of the certificate of {key.common_name}")


@contextmanager
def _asking() -> Iterator[None]:
    try:
        yield
    except HsmUnavailable as error:
        raise Unavailable(HSM) from error
