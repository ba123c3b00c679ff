"""Revocation: final, at once, and in a CRL with a higher number that anyone can judge."""

from collections import Counter
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding

from libs.crypto.crl import RevocationReason
from services.certificate_authority import crls, standing, store
from tests.integration.certificate_authority.conftest import Authority, crl, openssl, trust
from tests.integration.certificate_authority.orders import issue, listed, look_again, revoke, serial
from tests.integration.hsm.softhsm import SoftHsm
from tests.support.applications import application, certificate_requested, revocation_requested
from tests.support.waiting import eventually


async def test_a_revocation_is_said_at_once_and_listed_under_a_higher_number(
    authority: Authority, tmp_path: Path
) -> None:
    async with authority.running() as client:
        state, other = await issue(authority), await issue(authority)
        before = await crl(client)
        assert before.status(serial(state)) is None
        await revoke(authority, revocation_requested(state.credential_id, authority.registrar))
        said = (await authority.certified(3))[-1]
        await listed(client, state)
        after = await crl(client)
        ders = [(await client.get(f"/{issuer}.crl")).content for issuer in ("root", "issuing")]
    assert said == state.model_copy(update={"version": 2, "status": "revoked", "status_since": said.status_since})
    entry = after.status(serial(state))
    assert entry is not None
    assert (entry.date, entry.reason) == (said.status_since, RevocationReason.KEY_COMPROMISE)
    assert after.status(serial(other)) is None
    assert after.number > before.number
    assert after.next_update - after.this_update == timedelta(hours=24)
    (tmp_path / "trust.pem").write_bytes(trust(authority, *ders))
    for judged, good in ((state, False), (other, True)):
        certificate = x509.load_der_x509_certificate(judged.certificate).public_bytes(Encoding.PEM)
        (tmp_path / "leaf.pem").write_bytes(certificate)
        answer = openssl("verify", "-crl_check_all", "-CAfile", tmp_path / "trust.pem", tmp_path / "leaf.pem")
        assert (answer.returncode == 0) is good, answer.stderr
        assert good or b"certificate revoked" in answer.stderr
    text = openssl("crl", "-inform", "DER", "-noout", "-text", given=ders[1])
    assert f"X509v3 CRL Number: \n                {after.number}" in text.stdout.decode()
    assert "Key Compromise" in text.stdout.decode()


async def test_a_look_that_finds_nothing_new_reads_no_list(
    authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There is one every 20 s, and there may be a million entries."""
    monkeypatch.setattr(crls, "LOOK", timedelta(seconds=0.1))
    asked: Counter[str] = Counter()

    def counted(name: str) -> Callable[..., Awaitable[Any]]:
        query = getattr(store, name)

        async def ask(*arguments: object) -> Any:
            asked[name] += 1
            return await query(*arguments)

        return ask

    for name in ("changes", "listed"):
        monkeypatch.setattr(store, name, counted(name))
    async with authority.running() as client:
        state = await issue(authority)
        await revoke(authority, revocation_requested(state.credential_id, authority.registrar))
        await listed(client, state)
        looked, read = asked["changes"], asked["listed"]
        await eventually(lambda: asked["changes"] >= looked + 4, "four looks more")
    assert asked["listed"] == read > 0


async def test_ten_orders_revoke_once(authority: Authority) -> None:
    async with authority.running() as client:
        state = await issue(authority)
        order = revocation_requested(state.credential_id, authority.registrar)
        again = [revocation_requested(state.credential_id, authority.registrar) for _ in range(5)]
        await revoke(authority, *[order] * 5, *again)
        await authority.room.all_committed(authority.routes.revocation_requested, 10)
        await listed(client, state)
        await authority.tap.read()
        entries = len(await crl(client))
    revoked = [c for c in authority.certificates() if c.status == "revoked"]
    assert len(revoked) == 1
    assert entries == 1


async def test_what_no_registrar_signed_revokes_nothing(authority: Authority) -> None:
    async with authority.running() as client:
        state = await issue(authority)
        thief = Ed25519PrivateKey.generate()
        true = revocation_requested(state.credential_id, authority.registrar)
        altered = revocation_requested(uuid4(), authority.registrar)
        await revoke(
            authority,
            revocation_requested(state.credential_id, thief),
            revocation_requested(state.credential_id, thief, by=true.registrar_key),
            altered.model_copy(update={"revocation": true.revocation}),
        )
        await authority.room.all_committed(authority.routes.revocation_requested, 3)
        await authority.tap.read()
        assert [c.status for c in authority.certificates()] == ["good"]
        assert len(await crl(client)) == 0
        # The forged one with the true one's id has not taken it.
        await revoke(authority, true)
        await authority.certified(2)
    letters = authority.dead_letters(authority.routes.revocation_requested)
    assert letters == ["registrar-signature-invalid"] * 3


async def test_a_revocation_that_overtakes_its_certificate_waits_for_it(
    authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(standing, "PENDING", timedelta(hours=1))
    event = certificate_requested(application(), authority.registrar)
    async with authority.running() as client:
        await revoke(authority, revocation_requested(event.credential_id, authority.registrar))
        await authority.room.all_committed(authority.routes.revocation_requested, 1)
        await authority.room.send(authority.routes.certificate_requested, [event])
        await authority.certified(1)
        await look_again(authority)
        (_, revoked) = await authority.certified(2)
        assert revoked.status == "revoked"
        await listed(client, revoked)
    assert authority.dead_letters(authority.routes.revocation_requested) == []


async def test_a_revocation_of_nothing_is_put_aside_for_a_person(
    authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(standing, "PENDING", timedelta(milliseconds=300))
    async with authority.running():
        await revoke(authority, revocation_requested(uuid4(), authority.registrar))
        await authority.tap.until(
            lambda: authority.dead_letters(authority.routes.revocation_requested), "the dead letter"
        )
    assert authority.dead_letters(authority.routes.revocation_requested) == ["credential-unknown"]


async def test_a_restart_goes_on_with_the_same_keys_certificates_and_numbers(authority: Authority) -> None:
    async with authority.running() as client:
        state = await issue(authority)
        await revoke(authority, revocation_requested(state.credential_id, authority.registrar))
        await listed(client, state)
        before = await crl(client)
        first = (await client.get("/issuing.crl")).content
    async with authority.running() as client:
        assert (await client.get("/issuing.crl")).content == first
        assert (await crl(client)).number == before.number


async def test_a_crl_that_was_replaced_is_served_by_its_number(authority: Authority) -> None:
    """A record names the CRLs that were consulted, and must be provable years later."""
    async with authority.running() as client:
        first = await client.get("/issuing.crl")
        state = await issue(authority)
        await revoke(authority, revocation_requested(state.credential_id, authority.registrar))
        await listed(client, state)
        newest = await client.get("/issuing.crl")
        number = (await crl(client)).number
        assert (await client.get(f"/issuing/{number}.crl")).content == newest.content
        assert (await client.get(f"/issuing/{number - 1}.crl")).content == first.content != newest.content
        for absent in (0, number + 1, 10**30):
            assert (await client.get(f"/issuing/{absent}.crl")).status_code == 404


async def test_a_crl_is_replaced_before_half_of_its_validity_has_passed(
    authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(crls, "LOOK", timedelta(milliseconds=200))
    async with authority.running() as client:
        numbers = {issuer: (await crl(client, issuer)).number for issuer in ("root", "issuing")}
        authority.clock.ahead = timedelta(hours=11, minutes=58)
        await eventually(lambda: looks(authority, 5), "five looks")
        assert {issuer: (await crl(client, issuer)).number for issuer in numbers} == numbers
        authority.clock.ahead = timedelta(hours=12, minutes=1)

        async def replaced() -> bool:
            return all([(await crl(client, issuer)).number == number + 1 for issuer, number in numbers.items()])

        await eventually(replaced, "both replaced, once")
        await eventually(lambda: looks(authority, 10), "ten looks")
        assert await replaced()


async def looks(authority: Authority, count: int) -> bool:
    """Whether both timers fired so often."""
    sql = "select min(tries) from due where what = $1"
    return (await authority.room.pool.fetchval(sql, crls.CRL_LOOK.name) or 0) >= count


async def test_a_crl_that_could_not_be_made_is_made_when_the_hsm_is_back(
    authority: Authority, token: SoftHsm, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(crls, "LOOK", timedelta(milliseconds=200))
    tokens = token.tokens
    async with authority.running() as client:
        state = await issue(authority)
        tokens.rename(tokens.with_name("away"))
        try:
            await revoke(authority, revocation_requested(state.credential_id, authority.registrar))
            await authority.certified(2)  # said all the same
            await eventually(lambda: authority.waits_for("hsm"), "the replica waits")
            assert (await crl(client)).status(serial(state)) is None
        finally:
            tokens.with_name("away").rename(tokens)
        await listed(client, state)


async def test_numbers_rise_for_ever(authority: Authority) -> None:
    """A number that was taken and never signed is a gap; it is never taken again."""
    async with authority.room.pool.acquire() as connection:
        await connection.execute(
            "insert into crl (issuer, number, this_update, next_update, entries) "
            "values ('issuing', 41, now(), now(), 0)"
        )
    async with authority.running() as client:
        state = await issue(authority)
        await revoke(authority, revocation_requested(state.credential_id, authority.registrar))
        await listed(client, state)
        assert (await crl(client)).number == 42


async def test_no_outcome_is_left_unpublished(authority: Authority) -> None:
    async with authority.running():
        state = await issue(authority)
        await revoke(authority, revocation_requested(state.credential_id, authority.registrar))
        await authority.certified(2)

        await eventually(lambda: authority.room.empty("unpublished"), "everything marked as published")
