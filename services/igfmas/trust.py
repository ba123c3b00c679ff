"""What a signature is judged against: root, issuing CA and the CRLs that the verifier consulted, in one PEM file; and
the keys of the signing log.
"""

import asyncio
from pathlib import Path
from typing import Final

import httpx
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from libs.contracts.log import LOG_KEY_FILE, WITNESS_KEY_FILE
from libs.contracts.signing import CrlChecked, Verified
from libs.gpki_client.checkpoint import verifier_key
from libs.gpki_client.record import Pinned

AUTHORITIES: Final = ("root", "issuing")
TIMEOUT: Final = httpx.Timeout(10.0)


class TrustError(Exception):
    """A CRL that was consulted cannot be had: the evidence would not be complete."""


class Trust:
    """The officers' tree with every CRL that was asked for, by issuer and number. Used from one event loop."""

    def __init__(self, pki_dir: Path, crl_base_url: str) -> None:
        self._base = crl_base_url
        self._chain = {name: (pki_dir / f"{name}.pem").read_bytes() for name in AUTHORITIES}
        self._names = {_subject(pem): name for name, pem in self._chain.items()}
        self._crls: dict[tuple[str, int], bytes] = {}
        self._asking = asyncio.Lock()
        log, witness = ((pki_dir / name).read_text(encoding="utf-8") for name in (LOG_KEY_FILE, WITNESS_KEY_FILE))
        self.pinned = Pinned(self._chain["root"], verifier_key(log), verifier_key(witness))
        """Whom a receipt is believed by."""

    async def pem_for(self, verified: Verified) -> bytes:
        """`trust.pem` of one document: the CRLs of the very numbers that were consulted. Raises TrustError."""
        crls = [await self._crl(checked) for checked in verified.crls]
        return b"".join([*self._chain.values(), *crls])

    async def _crl(self, checked: CrlChecked) -> bytes:
        name = self._names.get(checked.issuer)
        if name is None:
            raise TrustError(f"{checked.issuer!r} is no authority of the officers' tree")
        async with self._asking:
            if (name, checked.number) not in self._crls:
                self._crls[name, checked.number] = await self._fetch(name, checked.number)
        return self._crls[name, checked.number]

    async def _fetch(self, name: str, number: int) -> bytes:
        try:
            async with httpx.AsyncClient(base_url=self._base, timeout=TIMEOUT, trust_env=False) as http:
                answer = (await http.get(f"/{name}/{number}.crl")).raise_for_status()
            crl = x509.load_der_x509_crl(answer.content)
        except (httpx.HTTPError, ValueError) as error:
            raise TrustError(f"CRL {number} of {name}: {error}") from None
        return crl.public_bytes(Encoding.PEM)


def _subject(pem: bytes) -> str:
    return x509.load_pem_x509_certificate(pem).subject.rfc4514_string()
