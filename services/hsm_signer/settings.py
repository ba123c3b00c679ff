"""What hsm_signer is told from outside."""

from datetime import timedelta
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from libs.bus.signing import ProducerSettings
from libs.hsm.settings import HsmSettings
from libs.runtime.settings import HELD
from services.hsm_signer import limits
from services.hsm_signer.custody import PEPPER, WRAPPING_KEY, Protection


class Settings(ProducerSettings, HsmSettings):
    """Settings of hsm_signer; what limits an authorisation otherwise are constants in `limits.py`."""

    service: Literal["hsm_signer"]
    pki_dir: Path = Field(description="Public certificates: service root, issuing CA, this signer's sealing authority.")
    wrapping_key: Annotated[str, HELD] = Field(
        default=WRAPPING_KEY,
        description="Label of the AES key under which users' keys leave the HSM; `init` makes it. A new one takes over "
        "at each credential's next right PIN: `gpki keys` shows how far.",
    )
    pepper: Annotated[str, HELD] = Field(
        default=PEPPER,
        description="Label of the HMAC key that goes into PINs; `init` makes it. A new one takes over at each "
        "credential's next right PIN: `gpki keys` shows how far.",
    )
    sealing_key_lifetime: Annotated[timedelta, HELD] = Field(
        default=timedelta(hours=24), description="Age at which a sealing key is replaced (design section 4.1: daily)."
    )
    sealing_key_kept: Annotated[timedelta, HELD] = Field(
        default=timedelta(hours=48), description="How long a replaced sealing key still opens; then it is destroyed."
    )
    reserve_within: Annotated[timedelta, Field(gt=timedelta(0), le=limits.RESERVE_WITHIN)] = Field(
        default=limits.RESERVE_WITHIN,
        description="How long an outage may keep an authorisation that came in time until it is reserved (design "
        "section 3: 300 s); what was kept longer is `authorisation-expired`. Less is for a test that has no quarter of "
        "an hour.",
    )

    @property
    def protection(self) -> Protection:
        """With what users' keys are protected from now on."""
        return Protection(self.wrapping_key, self.pepper)
