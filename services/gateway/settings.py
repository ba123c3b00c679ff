"""What the gateway is told from outside."""

from typing import Literal

from pydantic import Field, SecretBytes

from libs.bus.signing import ProducerSettings
from libs.runtime.settings import Port


class Settings(ProducerSettings):
    """Beside what every service knows: where it listens."""

    service: Literal["gateway"]
    gateway_port: Port = Field(
        description="Port of the GPKI API, which speaks TLS: what stands before it passes connections on as they are. "
        "No default: it is published."
    )
    gateway_tls: SecretBytes = Field(
        description="File `gateway_tls`: PEM of the API's private key and TLS certificate, read at the start."
    )
