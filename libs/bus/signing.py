"""The one place where events are signed (design section 4.7), and the key that a service signs them with.

`python -m libs.bus.signing` makes the key of the service that `GPKI_SERVICE` names, once, and asks for its certificate.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Final

from pydantic import Field, SecretBytes

from libs.bus.outcomes import Unavailable
from libs.contracts.cloudevents import Record
from libs.contracts.event_signature import with_signature
from libs.contracts.topics import Topic
from libs.crypto.errors import CryptoError
from libs.crypto.pki import distinguished_name
from libs.crypto.public_keys import public_key_id
from libs.crypto.requests import certification_request, new_signing_key, read_signing_key
from libs.runtime.health import Health
from libs.runtime.process import run
from libs.runtime.secret_files import ensure_secret, publish, secrets_directory
from libs.runtime.settings import ConfigurationError, ServiceSettings

PRODUCER_KEY: Final = "producer_key"
"""The secret's file; and the dependency's name in `Unavailable`: the others do not know our certificate yet."""

Sign = Callable[[Topic, Record], Record]
"""Gives a record of this topic its producer's signature, if the topic asks for one. Raises Unavailable."""


class EventSigner:
    """Signs with one service's key; about 30 µs, and 0.6 µs per KiB of the value. Safe for any thread."""

    def __init__(self, key_pem: bytes, *, known: Callable[[str], bool]) -> None:
        """`known`: whether whoever reads the event can know this key by now. Raises ConfigurationError."""
        try:
            self._key = read_signing_key(key_pem)
        except CryptoError as error:
            raise ConfigurationError([f"{PRODUCER_KEY}: {error}"]) from None
        self._known = known
        self.key_id = public_key_id(self._key.public_key())

    def __call__(self, topic: Topic, record: Record) -> Record:
        """The record, signed if the topic names producers. Raises Unavailable: unsigned would be a dead letter."""
        if not topic.producers:
            return record
        if not self._known(self.key_id):
            raise Unavailable(PRODUCER_KEY)
        return with_signature(record, self.key_id, self._key.sign)


def unsigned(topic: Topic, record: Record) -> Record:
    """For who has no key, and therefore writes no topic that names producers."""
    if topic.producers:
        raise RuntimeError(f"{topic.name} is signed by its producer, and there is no key to sign with")
    return record


def make_producer_key(owner: str, secrets_dir: Path, pki_dir: Path) -> None:
    """The secret `producer_key`, if it is missing, and the request for its certificate. May run again. OSError."""
    key = read_signing_key(ensure_secret(secrets_dir, PRODUCER_KEY, new_signing_key))
    request = certification_request(key, distinguished_name(owner))
    publish(pki_dir / "requests" / "producer" / f"{owner}.csr.pem", request)


class KeySettings(ServiceSettings):
    """What this step needs, before there is any key."""

    pki_dir: Path = Field(description="Directory below which the request for the key's certificate is written.")


class ProducerSettings(KeySettings):
    """Settings of a service that writes events: its key, and whose keys it believes."""

    pki_dir: Path = Field(description="Public certificates; `service_root.pem` is the pinned root of services' keys.")
    producer_key: SecretBytes = Field(
        description="File `producer_key`: the Ed25519 key in PEM that signs this service's events. "
        "`python -m libs.bus.signing` makes it."
    )


async def _initialise(settings: KeySettings, _health: Health) -> None:
    make_producer_key(settings.service, secrets_directory(), settings.pki_dir)


if __name__ == "__main__":
    raise SystemExit(run(KeySettings, _initialise))
