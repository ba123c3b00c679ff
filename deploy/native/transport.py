"""The stack's own authority of TLS, and its certificates for servers: gateway, in containers Kafka, PostgreSQL, sink.

It vouches for hosts and for nothing else: no signature of an officer, a service or a caller rests on it.
"""

import os
from datetime import datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from deploy.native.broker import BROKERS as KAFKA
from deploy.native.layout import ADMINISTRATOR, BROKERS, Layout
from deploy.native.ports import HOST
from libs.runtime.clock import utc_now
from libs.runtime.secret_files import ensure_secret, publish, write_secret

ROOT_VALID = timedelta(days=3650)
SERVER_VALID = timedelta(days=825)
"""Made anew at every start of the stack."""

GATEWAY_NAMES = "GPKI_GATEWAY_NAMES"
"""Environment: further names or addresses, comma-separated, under which callers reach the gateway."""

SKEW = timedelta(minutes=5)
"""Of a host whose clock is behind ours."""


def certify(layout: Layout) -> None:
    """Make the authority once, and a new key and certificate for each server: `Layout.tls`, key before certificate."""
    now = utc_now()
    key = _private_key(ensure_secret(layout.secrets(ADMINISTRATOR), "transport_root_key", _new_key))
    if not layout.tls_root.exists():
        publish(layout.tls_root, _root(key, now).public_bytes(Encoding.PEM))
    root = x509.load_pem_x509_certificate(layout.tls_root.read_bytes())
    servers = {"gateway": [layout.host("gateway"), *filter(None, os.environ.get(GATEWAY_NAMES, "").split(","))]}
    if layout.networked:
        servers |= {KAFKA: [layout.host(name) for name in BROKERS]}
        servers |= {name: [layout.host(name)] for name in ("postgres", "smtp")}
    for owner, names in servers.items():
        _certify_server(layout.tls(owner), list(dict.fromkeys([*names, HOST])), key, root, now)


def _certify_server(
    file: Path, names: list[str], issuer: ec.EllipticCurvePrivateKey, root: x509.Certificate, now: datetime
) -> None:
    pem = _new_key()
    alternatives = [_alternative(name) for name in names]
    certificate = (
        _builder(names[0], _private_key(pem).public_key(), now, SERVER_VALID)
        .issuer_name(root.subject)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .sign(issuer, hashes.SHA256())
    )
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    write_secret(file, pem + certificate.public_bytes(Encoding.PEM))


def _alternative(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _root(key: ec.EllipticCurvePrivateKey, now: datetime) -> x509.Certificate:
    name = "GPKI transport root"
    usage = x509.KeyUsage(
        digital_signature=False, content_commitment=False, key_encipherment=False, data_encipherment=False,
        key_agreement=False, key_cert_sign=True, crl_sign=False, encipher_only=False, decipher_only=False,
    )  # fmt: skip
    return (
        _builder(name, key.public_key(), now, ROOT_VALID)
        .issuer_name(_name(name))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .sign(key, hashes.SHA256())
    )


def _builder(name: str, key: ec.EllipticCurvePublicKey, now: datetime, valid: timedelta) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(_name(name))
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - SKEW)
        .not_valid_after(now + valid)
    )


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _new_key() -> bytes:
    key = ec.generate_private_key(ec.SECP256R1())
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _private_key(pem: bytes) -> ec.EllipticCurvePrivateKey:
    key = load_pem_private_key(pem, None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    return key
