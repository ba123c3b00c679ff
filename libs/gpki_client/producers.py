"""Who said it: an event on Kafka is believed by its producer's Ed25519 signature, never because the broker has it.

The keys are on `gpki.keys.v1`, each with a certificate for producers under the service root that you pinned; only what
the certificate authority's own producer key has signed there counts, and that key vouches for itself.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.x509.oid import NameOID

from . import certificates
from .answers import parsed, read
from .caller import key_id_of
from .errors import AnswerError, CertificateError, ForgedEventError, UnknownProducerError

KEYS: Final = "gpki.keys.v1"
COMPLETED: Final = "gpki.signing.completed.v1"

PRODUCERS: Final[Mapping[str, tuple[str, ...]]] = {
    COMPLETED: ("posting",),
    "gpki.enrolment.application-refused.v1": ("enrolment", "hsm_signer", "certificate_authority"),
    "gpki.enrolment.pin-answered.v1": ("hsm_signer",),
    "gpki.log.tile.v1": ("posting",),
}
"""Who may write what a caller may read. (A countersigned checkpoint carries its own signatures.)"""

KEY_PUBLISHER: Final = "certificate_authority"

OID_PRODUCER: Final = "2.25.82430906570615685792089558486482243885"
"""The extended key usage of producers' keys: their only one."""

HEADER: Final = "gpki-signature"
"""32 bytes of key id, 64 of signature."""

UNRESOLVED: Final = 1_000
"""Key records kept whose signer is not known yet: a writer of the topic cannot fill the memory with more."""

_DOMAIN: Final = b"gpki.event.v1"
_KEY_ID_BYTES: Final = 32
_SIGNATURE_BYTES: Final = 64


@dataclass(frozen=True)
class EventRecord:
    """A record as it came from Kafka. `appended_at` is the broker's time (LogAppendTime)."""

    topic: str
    key: bytes | None
    value: bytes
    headers: Sequence[tuple[str, bytes]]
    appended_at: datetime


@dataclass(frozen=True)
class _KeyState:
    """The value of a record of `gpki.keys.v1`."""

    key_id: str
    version: int
    purpose: str
    owner: str
    chain: tuple[bytes, ...]
    retired_at: datetime | None = None


@dataclass(frozen=True)
class _Producer:
    name: str
    public_key: Ed25519PublicKey
    not_after: datetime
    version: int
    retired_at: datetime | None


class ProducerKeys:
    """The producers' keys as far as `gpki.keys.v1` was read. Not thread-safe."""

    def __init__(self, service_root: bytes) -> None:
        """`service_root` is the pinned `service_root.pem`, PEM or DER. Raises CertificateError."""
        self._root = certificates.load(service_root)
        self._known: dict[str, _Producer] = {}
        self._unresolved: list[tuple[EventRecord, str, _Producer]] = []

    def learn(self, records: Iterable[EventRecord]) -> None:
        """Take in records of `gpki.keys.v1`, in any order and as often as they come; what is not genuine is ignored."""
        waiting = [*self._unresolved, *(found for record in records if (found := self._producer(record)) is not None)]
        left: list[tuple[EventRecord, str, _Producer]] = []
        while waiting:  # one may be signed by the key of another behind it
            left = [one for one in waiting if not self._take(*one)]
            if len(left) == len(waiting):
                break
            waiting = left
        self._unresolved = left[-UNRESOLVED:]

    def check(self, record: EventRecord) -> None:
        """Return when a producer of the record's topic signed it. Raises ForgedEventError, which says why not.

        UnknownProducerError is the one that reading on in `gpki.keys.v1` may mend.
        """
        key_id, signature = _signature(record)
        producer = self._known.get(key_id)
        if producer is None:
            raise UnknownProducerError("by a key that is not known")
        if producer.retired_at is not None and producer.retired_at <= record.appended_at:
            raise ForgedEventError("by a key that was replaced")
        if producer.not_after < record.appended_at:
            raise ForgedEventError("by a key whose certificate has expired")
        if producer.name not in PRODUCERS.get(record.topic, ()):
            raise ForgedEventError(f"by {producer.name}, which does not write this topic")
        if ("ce_source", f"/gpki/{producer.name}".encode()) not in record.headers:
            raise ForgedEventError("ce_source is another's")
        if not _verifies(producer.public_key, signature, record):
            raise ForgedEventError("the signature does not hold")

    def _producer(self, record: EventRecord) -> tuple[EventRecord, str, _Producer] | None:
        """What a record of the keys' topic says of a producer's key, if its certificate says the same."""
        try:
            state = read(_KeyState, parsed(record.value, "a key"))
            if state.purpose != "producer" or record.key != state.key_id.encode():
                return None
            leaf, *others = map(certificates.load, state.chain)
            public_key, names = self._judged(leaf, others)
        except (AnswerError, CertificateError, ValueError):
            return None
        if names != [state.owner] or key_id_of(public_key) != state.key_id:
            return None
        until = leaf.not_valid_after_utc
        return record, state.key_id, _Producer(state.owner, public_key, until, state.version, state.retired_at)

    def _judged(
        self, leaf: x509.Certificate, others: Sequence[x509.Certificate]
    ) -> tuple[Ed25519PublicKey, list[str | bytes]]:
        """The key of a certificate for producers, expired or not, and whom it names. Raises CertificateError."""
        path = certificates.path_to(self._root, leaf, others, at=leaf.not_valid_after_utc, length=3)
        if any(certificates.purposes(one) != {OID_PRODUCER} for one in path[:-1]):
            raise CertificateError("another purpose")
        usage = certificates.extension(leaf, x509.KeyUsage)
        constraints = certificates.extension(leaf, x509.BasicConstraints)
        if usage is None or not usage.digital_signature or (constraints is not None and constraints.ca):
            raise CertificateError("key usage")
        public_key = leaf.public_key()
        if not isinstance(public_key, Ed25519PublicKey):
            raise CertificateError("kind of key")
        return public_key, [name.value for name in leaf.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]

    def _take(self, record: EventRecord, key_id: str, producer: _Producer) -> bool:
        """Believe the key publisher's word; False while it is not known whose word it is."""
        try:
            signer_id, signature = _signature(record)
        except ForgedEventError:
            return True  # never will be believed
        signer = self._known.get(signer_id, producer if signer_id == key_id else None)
        if signer is None:
            return False
        if signer.name == KEY_PUBLISHER and _verifies(signer.public_key, signature, record):
            before = self._known.get(key_id)
            if before is None or before.version < producer.version:
                self._known[key_id] = producer
        return True


def signature_input(record: EventRecord) -> bytes:
    """What a producer signs: the domain; topic, key, name and value of each `ce_*` header in order, SHA-256 of the
    value, each with its length in 4 bytes (big-endian) before it.
    """
    parts = [record.topic.encode(), record.key or b""]
    for name, value in record.headers:
        if name.startswith("ce_"):
            parts += (name.encode(), value)
    parts.append(hashlib.sha256(record.value).digest())
    return _DOMAIN + b"".join(len(part).to_bytes(4, "big") + part for part in parts)


def _signature(record: EventRecord) -> tuple[str, bytes]:
    """Key id (hex) and signature. Raises ForgedEventError when there is none, or more than one."""
    found = [value for name, value in record.headers if name == HEADER]
    if len(found) != 1 or len(found[0]) != _KEY_ID_BYTES + _SIGNATURE_BYTES:
        raise ForgedEventError("not signed")
    return found[0][:_KEY_ID_BYTES].hex(), found[0][_KEY_ID_BYTES:]


def _verifies(key: Ed25519PublicKey, signature: bytes, record: EventRecord) -> bool:
    try:
        key.verify(signature, signature_input(record))
    except InvalidSignature:
        return False
    return True
