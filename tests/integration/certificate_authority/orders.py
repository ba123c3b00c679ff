"""Orders on certificates, given to an authority that runs, and what it says and lists."""

from uuid import uuid4

import httpx
from cryptography import x509

from libs.contracts.base import Event
from libs.contracts.cloudevents import Record, encode
from libs.contracts.enrolment import RevocationRequested
from libs.contracts.state import Certificate
from libs.contracts.suspension import LiftingRequested
from libs.contracts.topics import Topic
from libs.runtime.clock import utc_now
from tests.integration.certificate_authority.conftest import Authority, crl
from tests.support.applications import application, certificate_requested, signed_lifting, suspension_requested
from tests.support.pki import VALIDATOR
from tests.support.waiting import eventually


async def issue(authority: Authority) -> Certificate:
    before = len({state.credential_id for state in authority.certificates()})
    event = certificate_requested(application(), authority.registrar)
    await authority.room.send(authority.routes.certificate_requested, [event])
    await authority.certified(before + 1)
    (state,) = (c for c in authority.certificates() if c.credential_id == event.credential_id)
    return state


async def revoke(authority: Authority, *orders: RevocationRequested) -> None:
    await authority.room.send(authority.routes.revocation_requested, orders)


def serial(state: Certificate) -> int:
    return x509.load_der_x509_certificate(state.certificate).serial_number


async def look_again(authority: Authority) -> None:
    """Have the orders that wait for what they overtook waited long enough."""
    await authority.room.pool.execute("update due set at = now() where partition is not null")


async def listed(client: httpx.AsyncClient, state: Certificate) -> None:
    async def is_listed() -> bool:
        return (await crl(client)).status(serial(state)) is not None

    await eventually(is_listed, "the serial number in the CRL")


def lifting(authority: Authority, suspended: Certificate, **values: object) -> LiftingRequested:
    """Both registrars' order."""
    return LiftingRequested(signed=signed_lifting(suspended, authority.registrar, VALIDATOR, **values))


def again(topic: Topic, event: Event) -> Record:
    """The same order under another event id, as a writer of the broker sends it."""
    record = encode(topic, event, source="attacker", time=utc_now())
    headers = [(name, str(uuid4()).encode() if name == "ce_id" else value) for name, value in record.headers]
    return Record(record.topic, record.key, record.value, tuple(headers))


async def suspend(authority: Authority, state: Certificate, *, version: int = 2) -> Certificate:
    await authority.room.send(
        authority.routes.suspension_requested, [suspension_requested(state.credential_id, authority.registrar)]
    )
    return await said(authority, state, version)


async def lift(authority: Authority, suspended: Certificate) -> Certificate:
    await authority.room.send(authority.routes.lifting_requested, [lifting(authority, suspended)])
    return await said(authority, suspended, suspended.version + 1)


async def said(authority: Authority, state: Certificate, version: int) -> Certificate:
    def found() -> list[Certificate]:
        return [
            one
            for one in authority.certificates()
            if (one.credential_id, one.version) == (state.credential_id, version)
        ]

    await authority.tap.until(found, f"version {version}")
    return found()[0]


async def newest(authority: Authority, state: Certificate) -> tuple[int, str]:
    await authority.tap.read()
    versions = {one.version: one.status for one in authority.certificates() if one.credential_id == state.credential_id}
    return max(versions.items())


async def unlisted(client: httpx.AsyncClient, state: Certificate) -> None:
    async def is_unlisted() -> bool:
        return (await crl(client)).status(serial(state)) is None

    await eventually(is_unlisted, "the serial number gone from the CRL")
