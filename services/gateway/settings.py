"""What the gateway is told from outside."""

from pathlib import Path
from typing import Literal

from pydantic import Field

from libs.runtime.settings import Port, ServiceSettings


class Settings(ServiceSettings):
    """Beside what every service knows: whom it trusts, and where it listens."""

    service: Literal["gateway"]
    pki_dir: Path = Field(
        description="Directory with `service_root.pem`, the pinned root of callers' and sealing keys."
    )
    gateway_port: Port = Field(
        description="Port on 127.0.0.1 of the GPKI API; TLS ends at the proxy before it. No default: it is published."
    )
