"""CRLs of a ministry and of a million entries, made by the certificate authority as it makes every CRL."""

import secrets
import time
from collections.abc import Sequence
from typing import Any

import httpx
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from libs.crypto.crl import CrlIndex
from tests.load import fills
from tests.load.measuring import Bench
from tests.load.progress import say
from tests.support.waiting import eventually

FEW = 5_516
"""Entries that a CRL of the ministry's tokens had."""
MANY = 1_000_000
LOOKUPS = 100_000
MEBIBYTE = 1_048_576
BELIEVED_SECONDS = 120

_LISTED = "SELECT count(*) FROM certificate_authority.certificate WHERE profile = 'officer' AND ended_at IS NOT NULL"
_NUMBER = """
SELECT max(number)::text FROM certificate_authority.crl WHERE issuer = 'issuing' AND entries = $1 AND der IS NOT NULL
"""
_BELIEVED = "SELECT true FROM crl_verifier.crl WHERE number = $1::text::numeric"


async def revoke_up_to(bench: Bench, entries: int) -> dict[str, Any]:
    """Have the CRL list so many, and return when crl_verifier believes it; says what it is like to look into."""
    client = bench.client
    listed = await client.value(_LISTED)
    if listed < entries:
        await fills.revoked(client, listed + 1, entries)
    began = time.monotonic()
    await client.stack.restart("certificate_authority")  # looks at once
    number = await eventually(
        lambda: client.value(_NUMBER, entries), f"a CRL of {entries:,}", seconds=BELIEVED_SECONDS, every=0.5
    )
    made = time.monotonic() - began
    await client.stack.restart("crl_verifier")  # the same; and its peak is that of this CRL
    await eventually(
        lambda: client.value(_BELIEVED, number), f"CRL {number} believed", seconds=BELIEVED_SECONDS, every=0.5
    )
    believed = time.monotonic() - began
    look = await _looked_into(bench)
    told = f"believed after {believed:.0f} s, {look['lookup_us']:.2f} us a look-up, {look['index_mb']} MiB"
    say(f"CRL of {entries:,}: {told}")
    return {"entries": entries, "made_s": round(made, 1), "believed_s": round(believed, 1), **look}


async def _looked_into(bench: Bench) -> dict[str, float]:
    """Of the CRL as it is served: its size in MiB, its index's, and what a look-up takes."""
    stack = bench.client.stack
    async with httpx.AsyncClient(timeout=60) as web:
        der = (await web.get(f"http://127.0.0.1:{stack.layout.ports['crl']}/issuing.crl")).raise_for_status().content
    issuer = x509.load_pem_x509_certificate((stack.layout.pki / "issuing.pem").read_bytes())
    began = time.perf_counter()
    index = CrlIndex.parse(der, issuer.public_bytes(Encoding.DER))
    parsed = time.perf_counter() - began
    serials = [int.from_bytes(b"\x10" + secrets.token_bytes(15), "big") for _ in range(LOOKUPS)]
    size = index.keys.itemsize * len(index.keys) + len(index.values)
    return {
        "der_mb": round(len(der) / MEBIBYTE, 1),
        "index_mb": round(size / MEBIBYTE, 1),
        "parse_s": round(parsed, 2),
        "lookup_us": lookup_us(index, serials),
    }


def lookup_us(index: CrlIndex, serials: Sequence[int]) -> float:
    """Microseconds that one look-up takes, of all of these."""
    began = time.perf_counter()
    for serial in serials:
        index.status(serial)
    return 1e6 * (time.perf_counter() - began) / len(serials)
