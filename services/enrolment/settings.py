"""What enrolment is told from outside."""

from pathlib import Path
from typing import Literal

from pydantic import Field

from libs.runtime.settings import ServiceSettings


class Settings(ServiceSettings):
    """Beside what every service knows: whom it trusts."""

    service: Literal["enrolment"]
    pki_dir: Path = Field(description="Directory with `service_root.pem`, the pinned root of registrars' keys.")
