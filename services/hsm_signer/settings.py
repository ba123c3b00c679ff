"""What hsm_signer is told from outside."""

from datetime import timedelta
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, SecretStr

from libs.bus.signing import ProducerSettings
from services.hsm_signer import limits


class Settings(ProducerSettings):
    """Settings of hsm_signer; what limits an authorisation otherwise are constants in `limits.py`."""

    service: Literal["hsm_signer"]
    pki_dir: Path = Field(description="Public certificates: service root, issuing CA, this signer's sealing authority.")
    pkcs11_module: str = Field(description="Path of the PKCS#11 module.")
    pkcs11_token_label: str = Field(description="Label of the users' token.")
    hsm_pin: SecretStr = Field(description="File `hsm_pin`: the token's user PIN.")
    sealing_key_lifetime: timedelta = Field(
        default=timedelta(hours=24), description="Age at which a sealing key is replaced (design section 4.1: daily)."
    )
    sealing_key_kept: timedelta = Field(
        default=timedelta(hours=48), description="How long a replaced sealing key still opens; then it is destroyed."
    )
    reserve_within: Annotated[timedelta, Field(gt=timedelta(0), le=limits.RESERVE_WITHIN)] = Field(
        default=limits.RESERVE_WITHIN,
        description="How long an outage may keep an authorisation that came in time until it is reserved (design "
        "section 3: 300 s); what was kept longer is `authorisation-expired`. Less is for a test that has no quarter of "
        "an hour.",
    )
