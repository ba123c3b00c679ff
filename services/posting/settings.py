"""What posting is told from outside."""

from typing import Literal

from libs.bus.signing import ProducerSettings


class Settings(ProducerSettings):
    """Settings of posting: the common ones."""

    service: Literal["posting"]
