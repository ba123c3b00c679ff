"""What medium_lookup is told from outside."""

from typing import Annotated, Literal, get_args

from pydantic import Field

from libs.bus.signing import ProducerSettings
from libs.contracts.signing import Medium
from libs.runtime.settings import HELD


class Settings(ProducerSettings):
    """Beside what every service knows: which media count."""

    service: Literal["medium_lookup"]
    media: Annotated[frozenset[Medium], HELD] = Field(
        default=frozenset(get_args(Medium)),
        description="Media that may still be signed with: without `token` once every office has moved.",
    )
