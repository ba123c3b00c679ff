"""Write tests/vectors/token_signature.json from RFC 5652 and 5035 alone: `python -m tests.vectors.token_signature`.

Imports nothing of ours. Everything in it is deterministic (ECDSA by RFC 6979), so that a port can be compared byte for
byte: the attributes that a token signs, and the CMS around its signature.
"""

import hashlib
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

FILE = Path(__file__).with_suffix(".json")

DOCUMENT = "Baucar bayaran 2026/11/0001: Café “Seri Négara”\n".encode()
SIGNING_TIME = datetime(2026, 11, 23, 8, 0, tzinfo=UTC)
ROOT = hashlib.sha256(b"a root").digest()
KEY = ec.derive_private_key(0x1957_0831, ec.SECP256R1())


def der(tag: int, *parts: bytes) -> bytes:
    content = b"".join(parts)
    if len(content) < 128:
        length = bytes([len(content)])
    else:
        size = (len(content).bit_length() + 7) // 8
        length = bytes([128 + size]) + len(content).to_bytes(size, "big")
    return bytes([tag]) + length + content


def oid(dotted: str) -> bytes:
    first, second, *rest = map(int, dotted.split("."))
    content = b""
    for arc in [40 * first + second, *rest]:
        groups = [arc % 128]
        while arc := arc // 128:
            groups.insert(0, arc % 128 + 128)
        content += bytes(groups)
    return der(0x06, content)


def certificate() -> bytes:
    """Self-made and not of the platform's tree: what is compared is the encoding, not trust."""
    issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Vector CA")])
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Pegawai Vektor")])
    builder = x509.CertificateBuilder(
        issuer, subject, KEY.public_key(), 0x4000_0001, SIGNING_TIME.replace(year=2025), SIGNING_TIME.replace(year=2035)
    )
    return builder.sign(Ed25519PrivateKey.from_private_bytes(bytes(32)), None).public_bytes(Encoding.DER)


def attributes(of: bytes, document: str, system: str) -> dict[str, bytes]:
    """DER of each Attribute, by name."""
    hashed = der(0x30, der(0x30, der(0x30, der(0x04, hashlib.sha256(of).digest()))))
    values = {
        "content type": ("1.2.840.113549.1.9.3", oid("1.2.840.113549.1.7.1")),
        "signing time": ("1.2.840.113549.1.9.5", der(0x17, SIGNING_TIME.strftime("%y%m%d%H%M%SZ").encode())),
        "message digest": ("1.2.840.113549.1.9.4", der(0x04, hashlib.sha256(DOCUMENT).digest())),
        "signing-certificate-v2": ("1.2.840.113549.1.9.16.2.47", hashed),
        "commitment type, sah": (
            "1.2.840.113549.1.9.16.2.16",
            der(0x30, oid("2.25.290109310110680859644059387974447391490")),
        ),
        "document id": ("2.25.99171904974951802788379401384360554215", der(0x0C, document.encode())),
        "system": ("2.25.315404191997391793837440684322557512160", der(0x0C, system.encode())),
        "root": ("2.25.48523313358066902325860532718352016225", der(0x04, ROOT)),
    }
    return {name: der(0x30, oid(number), der(0x31, value)) for name, (number, value) in values.items()}


def vector() -> dict[str, Any]:
    document, system, signer = "BV-2026-0001", "iGFMAS", certificate()
    each = attributes(signer, document, system)
    signed = der(0x31, *sorted(each.values()))
    signature = KEY.sign(signed, ec.ECDSA(hashes.SHA256(), deterministic_signing=True))
    sha256 = der(0x30, oid("2.16.840.1.101.3.4.2.1"))
    named = der(0x30, x509.load_der_x509_certificate(signer).issuer.public_bytes(), der(0x02, b"\x40\x00\x00\x01"))
    ecdsa = der(0x30, oid("1.2.840.10045.4.3.2"))
    version, data = der(0x02, b"\x01"), der(0x30, oid("1.2.840.113549.1.7.1"))
    info = der(0x30, version, named, sha256, b"\xa0" + signed[1:], ecdsa, der(0x04, signature))
    content = der(0x30, version, der(0x31, sha256), data, der(0xA0, signer), der(0x31, info))
    return {
        "about": "A token's signature: P-256, ECDSA with SHA-256. `signed_attributes` is what is hashed and signed; "
        "the attributes stand in it in the order of their DER.",
        "document_id": document,
        "document": DOCUMENT.hex(),
        "action": "sah",
        "system": system,
        "root": ROOT.hex(),
        "signing_time": "2026-11-23T08:00:00Z",
        "certificate": signer.hex(),
        "attributes": {name: value.hex() for name, value in each.items()},
        "signed_attributes": signed.hex(),
        "signature": signature.hex(),
        "cms": der(0x30, oid("1.2.840.113549.1.7.2"), der(0xA0, content)).hex(),
    }


def text() -> str:
    return json.dumps(vector(), ensure_ascii=True, indent=1) + "\n"


if __name__ == "__main__":
    FILE.write_text(text(), encoding="ascii")
