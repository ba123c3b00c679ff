"""`trust.pem` of a receipt: the officers' authorities and the CRLs of the very numbers that were consulted, in PEM."""

import asyncio
from collections.abc import Iterable, Mapping
from typing import Final

import httpx
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from . import certificates
from .errors import TrustError

AUTHORITIES: Final = ("root", "issuing")
"""Whose CRLs the CRL server has, by these names: `<name>/<number>.crl`, each for ever."""

TIMEOUT: Final = httpx.Timeout(10.0)


class TrustFile:
    """Each CRL is asked for once. Used from one event loop."""

    def __init__(self, authorities: Mapping[str, bytes], crl_base_url: str) -> None:
        """`authorities`: the certificates (PEM) of AUTHORITIES, the root first. Raises CertificateError."""
        self._base = crl_base_url
        self._chain = dict(authorities)
        found = {name: certificates.load(pem) for name, pem in authorities.items()}
        self._names = {one.subject.rfc4514_string(): name for name, one in found.items()}
        self._crls: dict[tuple[str, int], bytes] = {}
        self._asking = asyncio.Lock()

    async def pem(self, crls: Iterable[tuple[str, int]]) -> bytes:
        """With these CRLs, by issuer (RFC 4514) and number, as the record names them. Raises TrustError."""
        return b"".join([*self._chain.values(), *[await self._crl(issuer, number) for issuer, number in crls]])

    async def _crl(self, issuer: str, number: int) -> bytes:
        name = self._names.get(issuer)
        if name is None:
            raise TrustError(f"{issuer!r} is none of the authorities at hand")
        async with self._asking:
            if (name, number) not in self._crls:
                self._crls[name, number] = await self._fetch(name, number)
        return self._crls[name, number]

    async def _fetch(self, name: str, number: int) -> bytes:
        try:
            async with httpx.AsyncClient(base_url=self._base, timeout=TIMEOUT, trust_env=False) as http:
                answer = (await http.get(f"/{name}/{number}.crl")).raise_for_status()
            crl = x509.load_der_x509_crl(answer.content)
        except (httpx.HTTPError, *certificates.UNREADABLE) as error:
            raise TrustError(f"CRL {number} of {name}: {error}") from None
        return crl.public_bytes(Encoding.PEM)
