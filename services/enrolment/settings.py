"""What enrolment is told from outside."""

from typing import Literal

from libs.bus.signing import ProducerSettings


class Settings(ProducerSettings):
    """Settings of enrolment: the common ones."""

    service: Literal["enrolment"]
