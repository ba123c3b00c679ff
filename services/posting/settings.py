"""What posting is told from outside."""

from datetime import timedelta
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from libs.bus.signing import ProducerSettings
from libs.hsm.settings import HsmSettings


class Settings(ProducerSettings, HsmSettings):
    """Settings of posting."""

    service: Literal["posting"]
    pki_dir: Path = Field(description="Public keys: `log.vkey`, which `init` writes and verifiers pin.")
    log_origin: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._/-]{0,99}$")] = Field(
        default="gpki-signing-log",
        description="Name of the signing log and of its key, for ever: it stands in every checkpoint. Another "
        "installation takes another one, a URL without its scheme by custom.",
    )
    checkpoint_every: Annotated[timedelta, Field(gt=timedelta(0), le=timedelta(minutes=1))] = Field(
        default=timedelta(seconds=5),
        description="Between two looks whether the log has grown; if so, a checkpoint is signed. A receipt waits so "
        "long. Design section 5 asks for one every minute at least.",
    )
