"""What otp_dispatch is told from outside."""

from datetime import timedelta
from decimal import Decimal
from typing import Annotated, Literal

from pydantic import Field, SecretBytes, StringConstraints

from libs.bus.signing import KeySettings, ProducerSettings
from libs.contracts.signing import OTP_LIFETIME
from libs.runtime.settings import HELD, Port
from services.otp_dispatch.channels import Ceiling, Ceilings

Myr = Annotated[Annotated[Decimal, Field(ge=0)] | None, HELD]


class InitSettings(KeySettings):
    """What `init` needs, before there is any key."""

    service: Literal["otp_dispatch"]


class Settings(InitSettings, ProducerSettings):
    """Beside what every service knows: its key, and the relay. Its producer key signs activation challenges, too."""

    otp_key: SecretBytes = Field(
        description="File `otp_key`: 32 bytes in hex, under which a code lies encrypted until it is recorded."
    )
    smtp_host: Annotated[str, StringConstraints(min_length=1), HELD] = Field(
        description="The mail relay. No default: a code must not go to whoever listens."
    )
    smtp_port: Annotated[Port, HELD] = Field(
        default=25, description="25 is a relay's, 587 submission, 465 implicit TLS."
    )
    smtp_tls: Annotated[Literal["when-offered", "required", "implicit"], HELD] = Field(
        default="when-offered",
        description="`when-offered` is for a relay on this host, such as the embedded sink; across a network say "
        "`required` (STARTTLS) or `implicit`. A certificate is checked wherever TLS is spoken.",
    )
    smtp_sender: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._+-]{1,64}@[A-Za-z0-9.-]{1,190}$")] = Field(
        default="no-reply@gpki.gov.my", description="Envelope sender and From; bounces go there."
    )
    email_otp_ceiling_myr: Myr = Field(
        default=None,
        description="The highest total of a request in MYR for which a code may go by e-mail, the lower assurance; "
        "above it, and for any other currency, only GPKI Mobile will do. By default there is no ceiling.",
    )
    email_otp_daily_ceiling_myr: Myr = Field(
        default=None,
        description="The highest sum in MYR of an officer's requests in 24 hours for which codes go by e-mail, used or "
        "not; above it, and for any other currency, only GPKI Mobile will do. By default there is no ceiling.",
    )
    gpki_mobile_otp_ceiling_myr: Myr = Field(
        default=None,
        description="The highest total of a request in MYR for which a code may go to GPKI Mobile, and so by e-mail, "
        "the lower assurance; above it, and for any other currency, there is none. By default there is no ceiling.",
    )
    gpki_mobile_otp_daily_ceiling_myr: Myr = Field(
        default=None,
        description="The highest sum in MYR of an officer's requests in 24 hours for which codes go to GPKI Mobile or "
        "by e-mail, used or not; above it, and for any other currency, there is none. By default there is no ceiling.",
    )
    email_otp_lifetime: Annotated[timedelta, Field(gt=timedelta(0), le=OTP_LIFETIME["e-mail"])] = Field(
        default=OTP_LIFETIME["e-mail"],
        description="How long a code that went by e-mail is good, from its delivery (design section 3: 10 min). It can "
        "only be shortened.",
    )

    @property
    def ceilings(self) -> Ceilings:
        """Up to what a code may go by which channel."""
        return {
            "gpki-mobile": Ceiling(self.gpki_mobile_otp_ceiling_myr, self.gpki_mobile_otp_daily_ceiling_myr),
            "e-mail": Ceiling(self.email_otp_ceiling_myr, self.email_otp_daily_ceiling_myr),
        }
