"""Whether a record of Kafka's is what it says: a forgery on a topic of ours stops no signer."""

from collections.abc import Awaitable, Callable
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature

from libs.bus.delivery import Undecodable, decode
from libs.bus.producers import Producers
from libs.bus.reader import Raw
from libs.contracts.signing import Signed
from libs.contracts.topics import Topic
from libs.crypto.cms import CmsError
from libs.crypto.cms_reading import parse, verify_signature
from libs.runtime.settings import ConfigurationError

Genuine = Callable[[Topic, Raw], Awaitable[bool]]

ISSUING = "issuing.pem"
"""In the PKI directory: who issues the officers' certificates."""


def by_signature(producers: Producers, issuing: x509.Certificate) -> Genuine:
    """Judge by the producer's signature, or, of a document's, by the officer's. Raises Unavailable."""

    async def genuine(topic: Topic, raw: Raw) -> bool:
        if topic.producers:
            await producers.look()
        found = decode(topic, raw, producers.judge)
        if isinstance(found, Undecodable):
            return False
        return not isinstance(found.event, Signed) or is_an_officers(found.event, issuing)

    return genuine


def is_an_officers(signed: Signed, issuing: x509.Certificate) -> bool:
    """Whether a certificate of this authority made this signature; whose, and if it was good then, is no matter."""
    try:
        document = parse(signed.cms)
        certificate = x509.load_der_x509_certificate(document.certificate)
        certificate.verify_directly_issued_by(issuing)
    except (CmsError, ValueError, TypeError, InvalidSignature):
        return False
    return verify_signature(document, certificate.public_key())


def read_issuing(pki_dir: Path) -> x509.Certificate:
    """Raises ConfigurationError."""
    file = pki_dir / ISSUING
    try:
        return x509.load_pem_x509_certificate(file.read_bytes())
    except (OSError, ValueError):
        raise ConfigurationError([f"GPKI_PKI_DIR: {file} is not a certificate that can be read"]) from None
