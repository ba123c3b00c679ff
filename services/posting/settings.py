"""What posting is told from outside."""

from typing import Literal

from libs.runtime.settings import ServiceSettings


class Settings(ServiceSettings):
    """Settings of posting: the common ones."""

    service: Literal["posting"]
