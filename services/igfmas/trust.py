"""What a signature is judged against: root, issuing CA and the CRLs that the verifier consulted, in one PEM file; and
the keys of the signing log.
"""

from pathlib import Path

from libs.contracts.log import LOG_KEY_FILE, WITNESS_KEY_FILE
from libs.contracts.signing import Verified
from libs.gpki_client.checkpoint import verifier_key
from libs.gpki_client.record import Pinned
from libs.gpki_client.trust import AUTHORITIES, TrustFile


class Trust:
    """The officers' tree with every CRL that was asked for. Used from one event loop."""

    def __init__(self, pki_dir: Path, crl_base_url: str) -> None:
        chain = {name: (pki_dir / f"{name}.pem").read_bytes() for name in AUTHORITIES}
        self._file = TrustFile(chain, crl_base_url)
        log, witness = ((pki_dir / name).read_text(encoding="utf-8") for name in (LOG_KEY_FILE, WITNESS_KEY_FILE))
        self.pinned = Pinned(chain["root"], verifier_key(log), verifier_key(witness))
        """Whom a receipt is believed by."""

    async def pem_for(self, verified: Verified) -> bytes:
        """`trust.pem` of one document: the CRLs of the very numbers that were consulted. Raises TrustError."""
        return await self._file.pem((checked.issuer, checked.number) for checked in verified.crls)
