"""What the reference client is told from outside."""

import ssl
from pathlib import Path
from typing import Annotated, Final

from pydantic import Field, SecretStr, StringConstraints
from pydantic_settings import BaseSettings, SettingsConfigDict

from libs.gpki_client import tls_context
from libs.runtime.kafka_access import Bootstrap, KafkaAccess
from libs.runtime.secret_files import require_secret
from services.igfmas.keys import CALLER, CALLER_KEY

OBSERVER: Final = "observer"

SERVICE_ROOT: Final = "service_root.pem"
"""In the PKI directory: the root that is pinned."""

Url = Annotated[str, StringConstraints(pattern=r"^https?://[^\s/]+$")]


class InitSettings(BaseSettings):
    """Enough to make the client's keys. A field `x` comes from `GPKI_X`; the client has no secret but its key files."""

    model_config = SettingsConfigDict(env_prefix="GPKI_", extra="ignore", frozen=True)

    pki_dir: Path = Field(description="Public certificates: `service_root.pem` is pinned, requests are written here.")
    secrets_dir: Path = Field(
        description="Directory (0700) with `caller_key`, `registrar_key` and `validator_key` (0600)."
    )


class Settings(InitSettings):
    """Enough to work: a client that is not told where its platform is does not guess."""

    kafka_bootstrap: Bootstrap = Field(description="host:port of one or more brokers, comma-separated.")
    observer_dir: Path = Field(description="Directory (0700) with the `kafka_password` of who may read every topic.")
    transport_root: Path | None = Field(
        default=None, description="PEM of the authority of the brokers' TLS certificates; without it, no TLS."
    )
    gateway_url: Url = Field(description="The GPKI API, without a path.")
    gateway_root: Path = Field(description="PEM of the authority of the API's TLS certificate.")
    crl_base_url: Url = Field(description="Where root.crl and issuing.crl are, for the evidence that is exported.")

    @property
    def kafka(self) -> KafkaAccess:
        """The brokers, and iGFMAS as they know it. Raises ConfigurationError."""
        return KafkaAccess(self.kafka_bootstrap, CALLER, _password(self.secrets_dir), self.transport_root)

    @property
    def observer(self) -> KafkaAccess:
        """The same as who reads every topic, to show the chain moving, and writes none. Raises ConfigurationError."""
        return KafkaAccess(self.kafka_bootstrap, OBSERVER, _password(self.observer_dir), self.transport_root)

    def caller_tls(self) -> ssl.SSLContext:
        """The API's connections of iGFMAS, which show its certificate. Raises OSError, GpkiError."""
        certificate = self.pki_dir / "certificates" / "caller" / f"{CALLER}.pem"
        return tls_context(self.gateway_root, certificate=certificate, key=self.secrets_dir / CALLER_KEY)

    def device_tls(self) -> ssl.SSLContext:
        """Those of a GPKI Mobile, which has no certificate. Raises OSError, GpkiError."""
        return tls_context(self.gateway_root)


def _password(directory: Path) -> SecretStr:
    return SecretStr(require_secret(directory / "kafka_password").decode())
