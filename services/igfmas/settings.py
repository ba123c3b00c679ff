"""What the reference client is told from outside."""

from pathlib import Path
from typing import Annotated, Final

from pydantic import Field, StringConstraints
from pydantic_settings import BaseSettings, SettingsConfigDict

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

    kafka_bootstrap: Annotated[str, StringConstraints(pattern=r"^[^\s,:]+:\d+(,[^\s,:]+:\d+)*$")] = Field(
        description="host:port of one or more brokers, comma-separated."
    )
    gateway_url: Url = Field(description="The GPKI API, without a path.")
    crl_base_url: Url = Field(description="Where root.crl and issuing.crl are, for the evidence that is exported.")
