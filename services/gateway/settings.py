"""What the gateway is told from outside."""

from typing import Literal

from pydantic import Field

from libs.bus.signing import ProducerSettings
from libs.runtime.settings import Port


class Settings(ProducerSettings):
    """Beside what every service knows: where it listens."""

    service: Literal["gateway"]
    gateway_port: Port = Field(
        description="Port of the GPKI API; TLS ends at the proxy before it. No default: it is published."
    )
