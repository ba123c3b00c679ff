"""What a service is told of its token, and the token while the service runs."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

from pydantic import Field, SecretStr

from libs.hsm.hsm import Hsm
from libs.runtime.settings import HELD, ServiceSettings


class HsmSettings(ServiceSettings):
    """Settings of a service that has a token."""

    pkcs11_module: str = Field(description="Path of the PKCS#11 module.")
    pkcs11_token_label: Annotated[str, HELD] = Field(
        description="Label of the service's own token, which no other service opens."
    )
    hsm_pin: SecretStr = Field(description="File `hsm_pin`: the token's user PIN.")


@asynccontextmanager
async def open_hsm(settings: HsmSettings) -> AsyncIterator[Hsm]:
    """Log in; log out at the end. Raises what `Hsm.open` does."""
    hsm = await Hsm.open(settings.pkcs11_module, settings.pkcs11_token_label, settings.hsm_pin)
    try:
        yield hsm
    finally:
        await hsm.aclose()
