"""How a process reaches Kafka: where the brokers are, and as whom it is known there."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import SecretStr, StringConstraints

from libs.runtime.transport import client_context

MECHANISM: Final = "SCRAM-SHA-256"
"""RFC 7677: neither side tells the other the password."""

Bootstrap = Annotated[str, StringConstraints(pattern=r"^[^\s,:]+:\d+(,[^\s,:]+:\d+)*$")]
"""host:port of one or more brokers, comma-separated."""


@dataclass(frozen=True)
class KafkaAccess:
    """Brokers (host:port, comma-separated), and the principal and password of whoever connects."""

    bootstrap: str
    principal: str
    password: SecretStr
    transport_root: Path | None = None
    """PEM of the authority that the brokers' TLS certificates come from; without it, no TLS."""

    def options(self) -> dict[str, Any]:
        """What every client of aiokafka is given, as keyword arguments. They hold the password: never log them."""
        return {
            "bootstrap_servers": self.bootstrap,
            "security_protocol": "SASL_PLAINTEXT" if self.transport_root is None else "SASL_SSL",
            "ssl_context": client_context(self.transport_root),
            "sasl_mechanism": MECHANISM,
            "sasl_plain_username": self.principal,
            "sasl_plain_password": self.password.get_secret_value(),
        }
