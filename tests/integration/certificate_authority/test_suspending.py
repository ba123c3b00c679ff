"""Suspension: a hold in the CRL, over when it is lifted, final when it is revoked; each at once."""

from datetime import timedelta
from pathlib import Path

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from libs.contracts.state import Certificate
from libs.crypto.crl import Revocation, RevocationReason
from services.certificate_authority import crls, standing
from tests.integration.certificate_authority.conftest import Authority, crl, openssl, trust
from tests.integration.certificate_authority.orders import (
    issue,
    lift,
    lifting,
    listed,
    look_again,
    newest,
    revoke,
    said,
    serial,
    suspend,
    unlisted,
)
from tests.integration.hsm.softhsm import SoftHsm
from tests.support.applications import (
    application,
    certificate_requested,
    revocation_requested,
    suspension_requested,
)
from tests.support.waiting import eventually


async def judged(authority: Authority, client: httpx.AsyncClient, state: Certificate, folder: Path) -> bytes:
    """What `openssl verify` says of it under the CRLs of now; nothing when it is good."""
    ders = [(await client.get(f"/{issuer}.crl")).content for issuer in ("root", "issuing")]
    (folder / "trust.pem").write_bytes(trust(authority, *ders))
    certificate = x509.load_der_x509_certificate(state.certificate).public_bytes(Encoding.PEM)
    (folder / "leaf.pem").write_bytes(certificate)
    answer = openssl("verify", "-crl_check_all", "-CAfile", folder / "trust.pem", folder / "leaf.pem")
    assert (answer.returncode == 0) is (b"error" not in answer.stderr)
    return answer.stderr


async def test_a_suspension_is_a_hold_in_the_crl_and_its_lifting_leaves_none(
    authority: Authority, tmp_path: Path
) -> None:
    """I-53, for everybody who reads CRLs: RFC 5280 section 5.3.1, certificateHold (6)."""
    async with authority.running() as client:
        state, other = await issue(authority), await issue(authority)
        suspended = await suspend(authority, state)
        await listed(client, state)
        held = await crl(client)
        text = openssl("crl", "-inform", "DER", "-noout", "-text", given=(await client.get("/issuing.crl")).content)
        assert b"certificate revoked" in await judged(authority, client, state, tmp_path)
        assert await judged(authority, client, other, tmp_path) == b""
        lifted = await lift(authority, suspended)
        await unlisted(client, state)
        free = await crl(client)
        assert await judged(authority, client, state, tmp_path) == b""
    assert suspended == state.model_copy(
        update={"version": 2, "status": "suspended", "status_since": suspended.status_since}
    )
    assert held.status(serial(state)) == Revocation(suspended.status_since, RevocationReason.CERTIFICATE_HOLD)
    assert held.status(serial(other)) is None
    assert b"Certificate Hold" in text.stdout
    assert lifted.lifting is not None
    assert lifted == state.model_copy(
        update={"version": 3, "status_since": lifted.status_since, "lifting": lifted.lifting}
    )
    assert free.number > held.number


async def test_as_one_is_lifted_and_another_suspended_the_crl_has_as_many_entries_and_is_made_anew(
    authority: Authority, token: SoftHsm, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(crls, "LOOK", timedelta(milliseconds=200))
    tokens = token.tokens
    async with authority.running() as client:
        one, other = await issue(authority), await issue(authority)
        suspended = await suspend(authority, one)
        await listed(client, one)
        tokens.rename(tokens.with_name("away"))
        try:
            await lift(authority, suspended)
            await suspend(authority, other)
            await eventually(lambda: authority.waits_for("hsm"), "the replica waits")
        finally:
            tokens.with_name("away").rename(tokens)
        await listed(client, other)
        assert (await crl(client)).status(serial(one)) is None


@pytest.mark.parametrize("first", ["suspended", "good"])
async def test_after_a_revocation_nothing_is_suspended_or_lifted(authority: Authority, first: str) -> None:
    """I-53: final, whatever it was before; the CRL keeps the date since when it said that it cannot be used."""
    suspensions, liftings = authority.routes.suspension_requested, authority.routes.lifting_requested
    async with authority.running() as client:
        state = await issue(authority)
        before = state
        if first == "suspended":
            authority.clock.ahead = timedelta(seconds=-30)
            before = await suspend(authority, state)
            await listed(client, state)
            authority.clock.ahead = timedelta()
        await revoke(authority, revocation_requested(state.credential_id, authority.registrar))
        revoked = await said(authority, state, before.version + 1)
        await authority.room.send(suspensions, [suspension_requested(state.credential_id, authority.registrar)])
        await authority.room.send(liftings, [lifting(authority, before), lifting(authority, revoked)])
        await authority.room.all_committed(suspensions, 1 + (first == "suspended"))
        await authority.room.all_committed(liftings, 2)
        assert await newest(authority, state) == (revoked.version, "revoked")
        since = before.status_since if first == "suspended" else revoked.status_since
        final = Revocation(since, RevocationReason.KEY_COMPROMISE)

        async def is_final() -> bool:
            return (await crl(client)).status(serial(state)) == final

        await eventually(is_final, "revoked in the CRL")
        assert len(await crl(client)) == 1
    assert authority.dead_letters(liftings) == authority.dead_letters(suspensions) == []


async def test_a_suspension_that_overtakes_its_certificate_waits_for_it(
    authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(standing, "PENDING", timedelta(hours=1))
    event = certificate_requested(application(), authority.registrar)
    topic = authority.routes.suspension_requested
    async with authority.running() as client:
        await authority.room.send(topic, [suspension_requested(event.credential_id, authority.registrar)])
        await authority.room.all_committed(topic, 1)
        await authority.room.send(authority.routes.certificate_requested, [event])
        await authority.certified(1)
        await look_again(authority)
        (_, suspended) = await authority.certified(2)
        assert suspended.status == "suspended"
        await listed(client, suspended)
    assert authority.dead_letters(topic) == []


async def test_an_officer_whose_certificate_is_suspended_gets_no_second_one(authority: Authority) -> None:
    """A suspension is no way round the two people that a new certificate takes after a revocation."""
    async with authority.running():
        state = await issue(authority)
        await suspend(authority, state)
        topic = authority.routes.certificate_requested
        await authority.room.send(topic, [certificate_requested(application(state.user), authority.registrar)])
        await authority.tap.until(authority.refusals, "the refusal")
    assert "not revoked" in authority.refusals()[0].detail
