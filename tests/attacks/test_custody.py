"""Attacks on the custody of users' keys. Each is shown to succeed once its defence is switched off."""

import dataclasses

import pytest

from libs.contracts.enrolment import KeyRequested
from libs.contracts.reasons import Reason
from libs.contracts.topics import Topic
from libs.crypto import credential as credential_crypto
from libs.crypto.credential import Argon2Parameters, WrongPin, argon2id, key_encryption_key, open_wrapped_key
from libs.crypto.sealing import PURPOSE_ENROLMENT_PIN, seal, sealing_info
from libs.crypto.secrets import encode_pin
from libs.hsm.hsm import Hsm
from services.hsm_signer import key_requests, store
from tests.support.applications import signed_lifting
from tests.support.custody import Cabinet

pytestmark = pytest.mark.stack

PIN = "Kn4ri-betul-kuda"


WEAK = ("12345678", "P@ssw0rd", "qwertyuiop", "{user}", "11111111")


def _unchecked(pin: str) -> bytes:
    """What a client that judges nothing would seal."""
    data = pin.encode()
    return len(data).to_bytes(2, "big") + data.ljust(256, b"\0")


@pytest.mark.parametrize("pin", [*WEAK, "Kn4ri-7"])
async def test_a_weak_pin_that_a_client_lets_pass_is_refused_before_a_key_is_made(cabinet: Cabinet, pin: str) -> None:
    user = "850312145678"
    asked = await cabinet.ask_for_key(_unchecked(pin.format(user=user)), user=user)
    assert (await cabinet.refused(asked)).reason is Reason.PIN_TOO_WEAK
    assert await cabinet.room.empty("credential")


async def test_without_the_policy_in_the_signer_a_weak_pin_would_get_its_key(
    cabinet: Cabinet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(key_requests, "is_weak", lambda *_args, **_kwargs: False)
    await cabinet.enrol("12345678")


async def test_a_sealed_pin_that_is_taken_for_another_application_makes_no_key(cabinet: Cabinet) -> None:
    asked = await cabinet.ask_for_key(encode_pin(PIN))
    await cabinet.certificate_requested(asked)
    stolen = await cabinet.ask_for_key(encode_pin(PIN), sealed=asked.sealed_pin)
    assert (await cabinet.refused(stolen)).reason is Reason.SEAL_INVALID
    assert await cabinet.room.count("select count(*) from credential") == 1


OTHER_PIN = "Lembu-7-biru-tua"


@pytest.mark.parametrize("defence", ["on", "off"])
async def test_who_hands_an_application_on_puts_no_pin_of_his_own_beside_it(
    cabinet: Cabinet, monkeypatch: pytest.MonkeyPatch, defence: str
) -> None:
    """I-49. enrolment, a caller or a broker writer, who has what two registrars signed: it says which sealed PIN."""
    if defence == "off":
        monkeypatch.setattr(key_requests, "is_confirmed_pin", lambda *_: True)
    key_id, public = await cabinet.public_key()
    send = cabinet.room.send

    async def hand_on(topic: Topic, events: list[KeyRequested]) -> None:
        (one,) = events
        info = sealing_info(PURPOSE_ENROLMENT_PIN, one.signed.application.user, str(one.credential_id), key_id)
        await send(topic, [one.model_copy(update={"sealed_pin": seal(encode_pin(OTHER_PIN), public, info)})])

    monkeypatch.setattr(cabinet.room, "send", hand_on)
    if defence == "off":
        credential = await cabinet.enrol(PIN)
        monkeypatch.setattr(cabinet.room, "send", send)
        assert await cabinet.authorise(credential, pin=OTHER_PIN) == "signed", "with a PIN that the officer never chose"
        return
    await cabinet.ask_for_key(encode_pin(PIN))
    assert await cabinet.dead_letter(cabinet.key_requested) == key_requests.PIN_NOT_CONFIRMED
    assert await cabinet.room.empty("credential")


SEALED = ("wrapped", "salt", "wrapping_key", "pepper", "memory_kib", "iterations", "parallelism")
"""All that a writer of the database has to swap, so that the same PIN gives the same key."""


async def swap(cabinet: Cabinet, one: object, other: object, columns: tuple[str, ...] = SEALED) -> None:
    """Give each credential the other's sealed key."""
    pairs = ", ".join(f"{name} = source.{name}" for name in columns)
    query = f"""
        update credential set {pairs} from (select * from credential) as source
        where (credential.credential_id, source.credential_id) in (($1, $2), ($2, $1))
    """
    await cabinet.room.pool.execute(query, one, other)


@pytest.mark.parametrize("defence", ["on", "off"])
async def test_a_sealed_key_that_a_writer_of_the_database_gives_to_another_credential_does_not_open(
    cabinet: Cabinet, monkeypatch: pytest.MonkeyPatch, defence: str
) -> None:
    """I-14. Both know the same PIN: what keeps one's key from the other is the binding alone."""
    if defence == "off":
        monkeypatch.setattr(credential_crypto, "_bound", lambda domain, *_fields: domain)
    mine, theirs = await cabinet.enrol(PIN), await cabinet.enrol(PIN)
    own = await cabinet.custody.open(await cabinet.kept(mine), PIN)
    await swap(cabinet, mine, theirs)
    if defence == "off":
        assert (await cabinet.custody.open(await cabinet.kept(theirs), PIN)) == own, "X signs with Y's key"
        return
    for swapped in (mine, theirs):
        with pytest.raises(WrongPin):
            await cabinet.custody.open(await cabinet.kept(swapped), PIN)
    await swap(cabinet, mine, theirs)
    assert await cabinet.custody.open(await cabinet.kept(mine), PIN) == own


@pytest.mark.parametrize("defence", ["on", "off"])
async def test_a_credential_that_is_given_another_user_does_not_open(
    cabinet: Cabinet, monkeypatch: pytest.MonkeyPatch, defence: str
) -> None:
    """I-14."""
    if defence == "off":
        monkeypatch.setattr(credential_crypto, "_bound", lambda domain, *_fields: domain)
    credential = await cabinet.kept(await cabinet.enrol(PIN))
    stolen = dataclasses.replace(credential, user_id="601231109999")
    if defence == "off":
        assert (await cabinet.custody.open(stolen, PIN)).wrapped
        return
    with pytest.raises(WrongPin):
        await cabinet.custody.open(stolen, PIN)


async def test_lower_parameters_written_into_the_database_weaken_no_pin(cabinet: Cabinet) -> None:
    """What they would cheapen is another key than the one that seals."""
    credential = await cabinet.kept(await cabinet.enrol(PIN))
    lower = Argon2Parameters(memory_kib=8, iterations=1)
    lowered = dataclasses.replace(credential.protection, parameters=lower)
    with pytest.raises(WrongPin):
        await cabinet.custody.open(dataclasses.replace(credential, protection=lowered), PIN)


@pytest.mark.parametrize("defence", ["on", "off"])
async def test_without_the_pepper_of_the_hsm_a_stolen_database_tries_no_pin(
    cabinet: Cabinet, monkeypatch: pytest.MonkeyPatch, defence: str
) -> None:
    """Even the right PIN, at whatever speed, finds nothing: half of the key is in the HSM."""
    if defence == "off":

        async def no_hsm(_hsm: Hsm, _label: str, data: bytes) -> bytes:
            return data

        monkeypatch.setattr(Hsm, "hmac_sha256", no_hsm)
    credential = await cabinet.kept(await cabinet.enrol(PIN))
    stretched = argon2id(PIN, credential.salt, credential.protection.parameters)
    name = {"user": credential.user_id, "credential_id": str(credential.credential_id)}
    kek = key_encryption_key(stretched, **name)
    if defence == "off":
        assert open_wrapped_key(kek, credential.wrapped, **name)
        return
    with pytest.raises(WrongPin):
        open_wrapped_key(kek, credential.wrapped, **name)


@pytest.mark.parametrize("defence", ["on", "off"])
async def test_revocation_leaves_nothing_of_the_key_in_the_database(
    cabinet: Cabinet, monkeypatch: pytest.MonkeyPatch, defence: str
) -> None:
    """I-15. Every table of the signer is searched, not the column alone in which it was."""
    if defence == "off":

        async def keep(*_arguments: object) -> None:
            return None

        monkeypatch.setattr(store, "destroy_credentials", keep)
    mine, theirs = await cabinet.enrol(PIN), await cabinet.enrol(PIN)
    sealed = (await cabinet.kept(mine)).wrapped
    await cabinet.certify(mine, status="revoked")
    if defence == "off":
        assert await cabinet.found(sealed), "a thief of the database who learns the PIN later has the key"
        return
    assert await cabinet.found(sealed) == []
    row = await cabinet.row(mine)
    assert row["destroyed_at"] is not None
    opened = await cabinet.custody.open(await cabinet.kept(theirs), PIN)
    assert opened.wrapped, "nobody else's key went with it"
    two = signed_lifting(await cabinet.certificate_of(mine), *(one.key for one in cabinet.administrators))
    await cabinet.certify(mine, status="good", version=3, lifting=two)
    assert (await cabinet.row(mine))["wrapped"] is None, "and nothing brings it back"


@pytest.mark.parametrize("cost", [Argon2Parameters(128, 1), Argon2Parameters(64, 2), Argon2Parameters(64, 1, 2)])
async def test_the_next_right_pin_raises_what_was_kept_at_a_lower_cost(
    cabinet: Cabinet, cost: Argon2Parameters
) -> None:
    """In the transaction that reserves; a wrong PIN raises nothing, and the PIN stays the same."""
    officer = await cabinet.enrol(PIN)
    before = await cabinet.row(officer)
    cabinet.protect(parameters=cost)
    assert await cabinet.authorise(officer, pin="Kn4ri-salah-kuda") == Reason.PIN_INCORRECT
    assert (await cabinet.row(officer))["wrapped"] == before["wrapped"]
    assert await cabinet.authorise(officer, pin=PIN) == "signed"
    raised = await cabinet.row(officer)
    assert (raised["memory_kib"], raised["iterations"], raised["parallelism"]) == dataclasses.astuple(cost)
    assert raised["salt"] != before["salt"]
    assert await cabinet.authorise(officer, pin=PIN) == "signed"
    assert (await cabinet.row(officer))["wrapped"] == raised["wrapped"], "once is enough"


async def test_a_release_with_a_lower_cost_lowers_nothing(cabinet: Cabinet) -> None:
    officer = await cabinet.enrol(PIN)
    before = await cabinet.row(officer)
    cabinet.protect(parameters=Argon2Parameters(memory_kib=1024, iterations=1, parallelism=1))
    assert await cabinet.authorise(officer, pin=PIN) == "signed"
    raised = await cabinet.row(officer)
    cabinet.protect(parameters=Argon2Parameters(memory_kib=512, iterations=3, parallelism=1))
    assert await cabinet.authorise(officer, pin=PIN) == "signed"
    assert (await cabinet.row(officer))["wrapped"] == raised["wrapped"] != before["wrapped"]
