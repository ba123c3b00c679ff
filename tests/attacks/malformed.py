"""Bytes that are no signature of ours and try to be more than that: deep, long, endless, half, or another encoding."""

import hashlib
from datetime import timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding

from libs.contracts.signing import Signed
from libs.crypto import der
from libs.crypto.cms import CmsTemplate
from libs.crypto.cms_reading import MAX_SIZE, parse
from tests.support.documents import Officer
from tests.support.pki import p256_key

CORPUS = Path(__file__).parents[1] / "fuzz" / "corpus" / "cms"

DEEP = 8_000
"""Elements in one another: what reads them by calling itself ends there."""


def _deep() -> bytes:
    found = b""
    for _ in range(DEEP):
        found = der.encode(der.SEQUENCE, found)
    return found[: 40 * 1024]


def malformed(genuine: bytes) -> dict[str, bytes]:
    """By what is wrong; `genuine` is a signature that is good."""
    certificate = parse(genuine).certificate
    broken = bytes(len(certificate))
    return {
        "nothing": b"",
        "one byte": b"\x30",
        "a length of 4 GiB": bytes.fromhex("3084ffffffff") + genuine[4:],
        "an indefinite length": b"\x30\x80" + genuine[4:] + b"\0\0",
        "a length that is not minimal": b"\x30\x83\0" + genuine[2:],
        "a tag of many bytes": b"\x3f\xff\xff\xff\x7f" + genuine[2:],
        "half of it": genuine[: len(genuine) // 2],
        "one byte more": genuine + b"\0",
        "twice": genuine * 2,
        "deep": _deep(),
        "zeros": bytes(40 * 1024),
        "a number of 32,000 bytes": der.encode(der.SEQUENCE, der.encode(der.INTEGER, b"\x7f" * 32_000)),
        "a certificate of zeros that it names": genuine.replace(certificate, broken).replace(
            hashlib.sha256(certificate).digest(), hashlib.sha256(broken).digest()
        ),
        **{f"corpus {file.name}": file.read_bytes() for file in sorted(CORPUS.iterdir())},
    }


def flipped(event: Signed) -> Signed:
    """The same, with a signature that no key made."""
    parts = parse(event.cms)
    signature = parts.signature[:-1] + bytes([parts.signature[-1] ^ 1])
    return event.model_copy(
        update={"cms": CmsTemplate(parts.certificate, parts.chain).assemble(parts.signed_attributes, signature)}
    )


def oversized(signer: Officer, genuine: bytes) -> bytes:
    """The same good signature in a CMS above the bound: it carries a certificate that nobody needs."""
    parts, key = parse(genuine), p256_key()
    padding = x509.UnrecognizedExtension(x509.ObjectIdentifier("2.25.1"), bytes(MAX_SIZE))
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "Padding")])
    now = signer.pki.now
    padded = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), now, now + timedelta(days=1))
        .add_extension(padding, critical=False)
        .sign(key, hashes.SHA256())
    )
    big = CmsTemplate(parts.certificate, (padded.public_bytes(Encoding.DER),))
    return big.assemble(parts.signed_attributes, parts.signature)
