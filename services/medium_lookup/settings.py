"""What medium_lookup is told from outside."""

from pathlib import Path
from typing import Literal, get_args

from pydantic import Field

from libs.contracts.signing import Medium
from libs.runtime.settings import ServiceSettings


class Settings(ServiceSettings):
    """Beside what every service knows: whom it trusts."""

    service: Literal["medium_lookup"]
    pki_dir: Path = Field(description="Directory with `service_root.pem`, the pinned root of callers' keys.")
    media: frozenset[Medium] = Field(
        default=frozenset(get_args(Medium)),
        description="Media that may still be signed with: without `token` once every office has moved.",
    )
