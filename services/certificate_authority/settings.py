"""What certificate_authority is told from outside."""

from datetime import timedelta
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from libs.bus.signing import ProducerSettings
from libs.contracts.manifest import Name
from libs.hsm.settings import HsmSettings
from libs.runtime.settings import HELD, Port

Duration = Annotated[timedelta, Field(gt=timedelta(0))]


class Settings(ProducerSettings, HsmSettings):
    """Settings of certificate_authority. Validities of authorities are no settings: see `issuance.py`."""

    service: Literal["certificate_authority"]
    pki_dir: Path = Field(description="Requests that `init` answers, and every certificate that it writes. No secrets.")
    crl_port: Port = Field(description="Port of the CRL server.")
    crl_base_url: Annotated[str, StringConstraints(pattern=r"^http://[^\s/]+(/[^\s/]+)*$")] = Field(
        description="Where relying parties reach the CRL server; stands in every certificate for its whole life. "
        "Plain HTTP: a CRL is signed, and TLS here would need a CRL itself (RFC 5280 section 8)."
    )
    crl_validity: Annotated[Duration, HELD] = Field(
        default=timedelta(hours=24),
        description="From thisUpdate to nextUpdate. Replaced at half of it: the other half is for mending what broke.",
    )
    officer_validity: Annotated[Duration, HELD] = Field(
        default=timedelta(days=730),
        description="Validity of an officer's certificate, cut at the issuing CA's own end.",
    )
    caller_systems: dict[Name, Name] = Field(
        default={"igfmas": "iGFMAS"},
        description="Caller → the system that it may name in a header (OU of its certificate); JSON. A caller that is "
        "not in it is not certified.",
    )
    caller_offices: dict[Name, Annotated[frozenset[Name], Field(min_length=1)]] = Field(
        default={},
        description="Caller → the only offices that it may name (in its certificate); JSON. A caller that is not in it "
        "may name every office. Changed later, it takes effect with the caller's next key.",
    )
