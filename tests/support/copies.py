"""The services' own copies of what is known of officers: each reads it in its own time, and later than the client."""

from collections.abc import Callable, Sequence
from functools import partial
from uuid import UUID

from libs.contracts.state import Certificate, User
from tests.support.chain import Client
from tests.support.waiting import eventually

OF_CERTIFICATES = ("medium_lookup", "hsm_signer", "crl_verifier", "posting")
"""Who keeps the state of certificates and refuses by it."""

OF_USERS = ("medium_lookup", "otp_dispatch", "hsm_signer", "crl_verifier")
"""Who keeps the officers and serves them by it."""


async def certified(
    client: Client, credential_id: UUID, status: str, services: Sequence[str] = OF_CERTIFICATES
) -> None:
    """Wait until the copy of each of these services has this certificate with this status."""

    async def known(service: str) -> bool:
        query = f"SELECT value FROM {service}.certificate_state WHERE credential_id = $1"
        value = await client.value(query, credential_id)
        return value is not None and Certificate.model_validate_json(value).status == status

    for service in services:
        await eventually(partial(known, service), f"{service} knows that the certificate is {status}")


async def registered(client: Client, user: str, credential_id: UUID, services: Sequence[str] = OF_USERS) -> None:
    """Wait until the copy of each of these services has the officer with this credential."""
    await officer_is(client, user, lambda known: known.credential_id == credential_id, "the credential", services)


async def officer_is(
    client: Client, user: str, which: Callable[[User], bool], what: str, services: Sequence[str]
) -> None:
    """Wait until the copy of each of these services has the officer as meant."""

    async def known(service: str) -> bool:
        value = await client.value(f"SELECT value FROM {service}.user_state WHERE user_id = $1", user)
        return value is not None and which(User.model_validate_json(value))

    for service in services:
        await eventually(partial(known, service), f"{service} knows {what}")
