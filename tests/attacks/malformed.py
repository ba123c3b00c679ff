"""Bytes that are no signature and no request of ours and try to be: deep, long, endless, half, or another encoding."""

import hashlib
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, utils
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from libs.contracts.signing import Signed
from libs.crypto import der
from libs.crypto.cms import OID_DOCUMENT_ID, CmsTemplate
from libs.crypto.cms_reading import MAX_SIZE, SignedDocument, parse
from libs.crypto.pki import distinguished_name
from libs.runtime.clock import utc_now
from tests.support.pki import p256_key

CORPUS = Path(__file__).parents[1] / "fuzz" / "corpus"

ECDSA = der.encode(der.SEQUENCE, der.encode_oid("1.2.840.10045.4.3.2"))
"""ecdsa-with-SHA256, as an AlgorithmIdentifier."""


def _deep(size: int) -> bytes:
    """Elements in one another, thousands of them: what reads them by calling itself ends there."""
    found = b""
    while len(longer := der.encode(der.SEQUENCE, found)) <= size:
        found = longer
    return found


def broken(genuine: bytes, size: int) -> dict[str, bytes]:
    """By what is wrong, whatever `genuine` is; none that is made to be long has more than `size` bytes."""
    _, start, _ = der.read(genuine, 0, len(genuine))
    one_number = b"\xff" * (size - 9) + b"\x7f"
    return {
        "nothing": b"",
        "one byte": b"\x30",
        "a length of 4 GiB": bytes.fromhex("3084ffffffff") + genuine[start:],
        "a length of 127 bytes": b"\x30\xff" + genuine[2:],
        "an indefinite length": b"\x30\x80" + genuine[start:] + b"\0\0",
        "a length that is not minimal": b"\x30\x83\0" + genuine[2:],
        "a length past the end": genuine[:-1],
        "a tag of many bytes": b"\x3f\xff\xff\xff\x7f" + genuine[2:],
        "half of it": genuine[: len(genuine) // 2],
        "one byte more": genuine + b"\0",
        "twice": genuine * 2,
        "deep": _deep(size),
        "zeros": bytes(size),
        "a number of many bytes": der.encode(der.SEQUENCE, der.encode(der.INTEGER, b"\x7f" * (size - 8))),
        "an object identifier of one number": der.encode(der.SEQUENCE, der.encode(der.OID, one_number)),
        "an object identifier that does not end": der.encode(der.SEQUENCE, der.encode(der.OID, b"\xff" * (size - 8))),
    }


def malformed(genuine: bytes, size: int = MAX_SIZE) -> dict[str, bytes]:
    """By what is wrong; `genuine` is a signature that is good."""
    certificate = parse(genuine).certificate
    zeros = bytes(len(certificate))
    return {
        **broken(genuine, size),
        "a certificate of zeros that it names": genuine.replace(certificate, zeros).replace(
            hashlib.sha256(certificate).digest(), hashlib.sha256(zeros).digest()
        ),
        **{f"corpus {file.name}": file.read_bytes() for file in sorted((CORPUS / "cms").iterdir())},
    }


def flipped(event: Signed) -> Signed:
    """The same, with a signature that no key made."""
    parts = parse(event.cms)
    signature = parts.signature[:-1] + bytes([parts.signature[-1] ^ 1])
    return event.model_copy(
        update={"cms": CmsTemplate(parts.certificate, parts.chain).assemble(parts.signed_attributes, signature)}
    )


def oversized(genuine: bytes, size: int = MAX_SIZE) -> bytes:
    """The same good signature in a CMS of more than `size`: it carries a certificate that nobody needs."""
    parts, key = parse(genuine), p256_key()
    padding = x509.UnrecognizedExtension(x509.ObjectIdentifier("2.25.1"), bytes(size))
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "Padding")])
    now = utc_now()
    padded = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), now, now + timedelta(days=1))
        .add_extension(padding, critical=False)
        .sign(key, hashes.SHA256())
    )
    big = CmsTemplate(parts.certificate, (padded.public_bytes(Encoding.DER),))
    return big.assemble(parts.signed_attributes, parts.signature)


def other_encodings(genuine: bytes) -> dict[str, bytes]:
    """The same good P-256 signature over the same attributes, each in other bytes than the profile's one encoding."""
    parts = parse(genuine)
    signature = der.encode(der.OCTET_STRING, parts.signature)
    # BER: an OCTET STRING that is made of two (X.690 section 8.7.3).
    pieces = (der.encode(der.OCTET_STRING, piece) for piece in (parts.signature[:9], parts.signature[9:]))
    return {
        "numbers with zeros before them": _rebuilt(parts, der.encode(der.OCTET_STRING, longer(parts.signature))),
        "a signature in two pieces": _rebuilt(parts, der.encode(0x24, *pieces)),
        "an attribute that is not signed": _rebuilt(
            parts, signature + der.encode(der.CONTEXT_1, _document_id(b"another"))
        ),
        "revocations along": _rebuilt(parts, signature, der.encode(der.CONTEXT_1, der.encode(der.SEQUENCE))),
    }


def other_attributes(genuine: bytes) -> dict[str, bytes]:
    """Sets of signed attributes that the profile does not have, to be signed by the officer's key."""
    signed = parse(genuine).signed_attributes
    each = [signed[at:stop] for _, at, _, stop in der.elements(signed, *der.only(signed, 0, len(signed), der.SET))]
    own = next(one for one in each if one[2:].startswith(der.encode_oid(OID_DOCUMENT_ID)))
    return {
        "an attribute twice": der.encode(der.SET, *sorted([*each, own])),
        "an attribute twice, of two values": der.encode(der.SET, *sorted([*each, _document_id(b"another")])),
        "attributes in another order": der.encode(der.SET, *reversed(each)),
        "an attribute that nobody knows": der.encode(der.SET, *sorted([*each, _document_id(b"x", "2.25.2")])),
    }


def with_attributes(genuine: bytes, signed_attributes: bytes, signature: bytes) -> bytes:
    """The CMS of other attributes, by the same certificate."""
    parts = parse(genuine)
    return CmsTemplate(parts.certificate, parts.chain).assemble(signed_attributes, signature)


def _document_id(value: bytes, oid: str = OID_DOCUMENT_ID) -> bytes:
    return der.encode(der.SEQUENCE, der.encode_oid(oid), der.encode(der.SET, der.encode(der.UTF8_STRING, value)))


def _rebuilt(parts: SignedDocument, end: bytes, along: bytes = b"") -> bytes:
    """The CMS with another end than its signature, and with something more between certificates and signer."""
    whole = CmsTemplate(parts.certificate, parts.chain).assemble(parts.signed_attributes, parts.signature)
    at, stop = der.only(whole, 0, len(whole), der.SEQUENCE)
    _, content = der.expect(whole, at, stop, der.OID)
    inner = content
    for tag in (der.CONTEXT_0, der.SEQUENCE):
        inner, _ = der.only(whole, inner, stop, tag)
    *_, (_, infos, info, _) = der.elements(whole, inner, stop)
    body, _ = der.only(whole, info, stop, der.SEQUENCE)
    signed = whole[body : whole.rindex(der.encode(der.OCTET_STRING, parts.signature))]
    signers = der.encode(der.SET, der.encode(der.SEQUENCE, signed, end))
    return der.encode(
        der.SEQUENCE,
        whole[at:content],
        der.encode(der.CONTEXT_0, der.encode(der.SEQUENCE, whole[inner:infos], along, signers)),
    )


def request_of(
    key: ec.EllipticCurvePrivateKey,
    *attributes: bytes,
    name: bytes = b"",
    public: bytes = b"",
    version: bytes = b"\0",
    shaped: Callable[[bytes], bytes] = bytes,
) -> bytes:
    """A PKCS #10 request that this key signed, whatever is told in it; `shaped` is what becomes of the signature."""
    told = der.encode(
        der.SEQUENCE,
        der.encode(der.INTEGER, version),
        name or distinguished_name("whoever").public_bytes(),
        public or key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
        der.encode(der.CONTEXT_0, *attributes),
    )
    signature = shaped(key.sign(told, ec.ECDSA(hashes.SHA256())))
    return der.encode(der.SEQUENCE, told, ECDSA, der.encode(der.BIT_STRING, b"\0" + signature))


def hostile_requests(key: ec.EllipticCurvePrivateKey, bound: int) -> dict[str, bytes]:
    """PKCS #10 that proves the possession of no key, by what is wrong; none is longer than the bound."""
    other = p256_key().public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    point = key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    own = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    found_before = sorted((CORPUS / "certificate").glob("found-request-*"))
    return {
        **{name: found for name, found in broken(request_of(key), bound).items() if name != "nothing"},
        **{f"corpus {file.name}": file.read_bytes() for file in found_before},
        "another's key": request_of(key, public=other),
        "a point that is on no curve": request_of(key, public=own.replace(point, point[:-1] + bytes([point[-1] ^ 1]))),
        "the point at infinity": request_of(key, public=own.replace(point, b"\x04" + bytes(64))),
        "no signature": request_of(key, shaped=lambda _: b""),
        "a signature of zeros": request_of(key, shaped=lambda _: bytes.fromhex("3006020100020100")),
        "a signature with zeros before its numbers": request_of(key, shaped=longer),
        "a version that there is not": request_of(key, version=b"\x7f" * 8),
    }


def requests_that_say_too_much(key: ec.EllipticCurvePrivateKey) -> dict[str, bytes]:
    """PKCS #10 whose proof holds, with more in it than a key: the authority takes the key, and nothing else."""
    asked = der.encode(der.SEQUENCE, der.encode_oid("1.2.840.113549.1.9.14"), der.encode(der.SET, _deep(4_000)))
    return {
        "attributes that are deep": request_of(key, asked),
        "an attribute twice": request_of(key, *[_document_id(b"x")] * 2),
        "an attribute of a number of 4,000 bytes": request_of(key, _document_id(bytes(4_000), "2.25.3")),
        "a name of two names": request_of(key, name=distinguished_name("A" * 60, serial_number="999").public_bytes()),
    }


def longer(signature: bytes) -> bytes:
    """A P-256 signature of the same two numbers, with more bytes than they need."""
    pair = utils.decode_dss_signature(signature)
    return der.encode(der.SEQUENCE, *(der.encode(der.INTEGER, number.to_bytes(40, "big")) for number in pair))
