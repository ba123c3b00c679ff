"""What crl_verifier is told from outside."""

from datetime import timedelta
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from libs.bus.signing import ProducerSettings


class Settings(ProducerSettings):
    """Settings of crl_verifier."""

    service: Literal["crl_verifier"]
    pki_dir: Path = Field(description="Public certificates: `root.pem` and `issuing.pem`, the officers' tree.")
    crl_base_url: Annotated[str, StringConstraints(pattern=r"^https?://[^\s?#]+[^/\s?#]$")] = Field(
        description="The CRL server; `root.crl` and `issuing.crl` are below it. No default: every place has its own."
    )
    crl_refresh: Annotated[timedelta, Field(gt=timedelta(0), le=timedelta(hours=1))] = Field(
        default=timedelta(seconds=30),
        description="Between two looks for newer CRLs. A conditional request each: an unchanged CRL is not sent again.",
    )
