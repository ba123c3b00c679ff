"""Attacks by a database that goes back in time, and by a backup that one person restores.

Each is shown to succeed once its defence is switched off.
"""

import asyncio
import json
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import pytest_asyncio
from cryptography.hazmat.primitives.serialization import Encoding

from libs.bus.administrators import ORDER_AHEAD, ORDER_WITHIN
from libs.bus.security_officers import FOLDER, security_officers
from libs.bus.topics import create_topics
from libs.contracts import custody, topics
from libs.contracts.reasons import Reason
from libs.contracts.signing import Rejected
from libs.crypto.service_certificates import ServiceIdentity
from libs.runtime.clock import utc_now
from libs.runtime.health import Health
from services.hsm_signer import backup_file, history, restore, restore_order
from services.hsm_signer.custody import PEPPER
from services.hsm_signer.history import WentBack
from services.hsm_signer.replay import Told, replay
from services.hsm_signer.restore import NotRestored
from tests.support.backups import REPLAYED, Archive
from tests.support.bus import reports
from tests.support.custody import Cabinet, Signer
from tests.support.going_back import EVENTS, PIN, WRONG
from tests.support.pki import Pki
from tests.support.waiting import eventually

pytestmark = pytest.mark.stack

PEOPLE = ("aminah", "kamarul")


@pytest_asyncio.fixture(loop_scope="session")
async def archive(cabinet: Cabinet, tmp_path: Path) -> Archive:
    await cabinet.hsm.ensure_p256_key(backup_file.BACKUP_KEY)
    await create_topics(cabinet.room.stack.kafka, topics=[*REPLAYED, *custody.SAID])
    aminah, kamarul = (cabinet.pki.security_officer(name) for name in PEOPLE)
    for name, officer in zip(PEOPLE, (aminah, kamarul), strict=True):
        certify(tmp_path, name, officer)
    return Archive(cabinet, tmp_path, (aminah, kamarul))


def certify(folder: Path, name: str, officer: Signer) -> None:
    file = folder / FOLDER / f"{name}.pem"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(officer.certificate.public_bytes(Encoding.PEM))


def in_office(archive: Archive) -> tuple[ServiceIdentity, ...]:
    root = archive.cabinet.pki.service_root.certificate.public_bytes(Encoding.DER)
    return tuple(security_officers(archive.folder, root, utc_now()).values())


@pytest.mark.parametrize("defence", ["on", "off"])
@pytest.mark.parametrize("event", EVENTS)
async def test_a_database_that_is_put_back_to_before_something_signs_nothing(
    archive: Archive, event: str, defence: str
) -> None:
    """I-51. By pg_dump; the signer is told nothing of it, and does not begin."""
    officer = await archive.cabinet.enrol(PIN)
    await archive.look()
    dump = await archive.dump()
    attempt = await EVENTS[event](archive, officer)
    await archive.look()
    assert await attempt() != "signed", "as it is without a database that goes back"
    await archive.look()
    await archive.put_back(dump)
    if defence == "off":
        assert await attempt() == "signed"
        return
    health = Health("hsm_signer")
    waiting = asyncio.create_task(archive.history().wait("hsm_signer", health))
    await eventually(lambda: reports(health, history.CHECK), "it has looked")
    assert not health.ready
    with pytest.raises(WentBack):
        await archive.look()
    assert not waiting.done()
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)


@pytest.mark.parametrize("defence", ["on", "off"])
@pytest.mark.parametrize("event", EVENTS)
async def test_a_backup_from_before_something_gives_nobody_a_signature(
    archive: Archive, monkeypatch: pytest.MonkeyPatch, event: str, defence: str
) -> None:
    """I-51. Restored by two people, into a database that was put back as well."""
    if defence == "off":
        monkeypatch.setattr(restore, "replay", nothing_but_the_ends)
        monkeypatch.setattr(restore, "_read_again", nothing)
    officer = await archive.cabinet.enrol(PIN)
    file, dump = await archive.backup(), await archive.dump()
    attempt = await EVENTS[event](archive, officer)
    await archive.cabinet.stop()
    await archive.put_back(dump)
    await archive.restore(file, archive.order(file, *archive.officers), officers=in_office(archive))
    await archive.look()
    await archive.cabinet.start()
    assert (await attempt() == "signed") is (defence == "off")


async def nothing(*_arguments: object) -> None:
    """Where a defence was."""


async def nothing_but_the_ends(*arguments: Any, **named: Any) -> Told:
    """A restore that believes the backup."""
    return Told(ends=(await replay(*arguments, **named)).ends)


async def put_back_and_stopped(archive: Archive, officer: UUID) -> tuple[bytes, Path]:
    """A backup of before the officer's last signature, and the database without it, that waits to be restored."""
    file, dump = await archive.backup(), await archive.dump()
    assert (await archive.authorise(officer, pin=PIN))[0] == "signed"
    await archive.cabinet.stop()
    await archive.put_back(dump)
    with pytest.raises(WentBack):
        await archive.look()
    return file, dump


@pytest.mark.parametrize("signers", ["nobody", "one person", "one person with two keys", "registrars", "strangers"])
async def test_one_person_alone_restores_nothing(
    archive: Archive, monkeypatch: pytest.MonkeyPatch, signers: str
) -> None:
    """I-52."""
    officer = await archive.cabinet.enrol(PIN)
    file, _ = await put_back_and_stopped(archive, officer)
    again = archive.cabinet.pki.security_officer(PEOPLE[0])
    certify(archive.folder, "another", again)
    for name, registrar in zip(("r1", "r2"), archive.cabinet.administrators, strict=True):
        certify(archive.folder, name, registrar)
    by = {
        "nobody": (),
        "one person": (archive.officers[0], archive.officers[0]),
        "one person with two keys": (archive.officers[0], again),
        "registrars": archive.cabinet.administrators,
        "strangers": (Pki(now=utc_now()).security_officer("x"), Pki(now=utc_now()).security_officer("y")),
    }[signers]
    order = archive.order(file, *by)
    with pytest.raises(NotRestored, match="two different people"):
        await archive.restore(file, order, officers=in_office(archive))
    with pytest.raises(WentBack):
        await archive.look()
    monkeypatch.setattr(restore_order, "confirmed_by_two", lambda *_: True)
    await archive.restore(file, order, officers=in_office(archive))
    await archive.look()


async def test_a_backup_that_was_changed_is_refused(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    """I-52: though two people signed for what they were given."""
    officer = await archive.cabinet.enrol(PIN)
    for _ in range(2):
        await archive.authorise(officer, pin=WRONG)
    file, _ = await put_back_and_stopped(archive, officer)
    changed = file.replace(b'"wrong_pins":2', b'"wrong_pins":0')
    assert changed != file
    order = archive.order(changed, *archive.officers)
    with pytest.raises(NotRestored, match="changed"):
        await archive.restore(changed, order, officers=in_office(archive))
    monkeypatch.setattr(backup_file, "verify", lambda *_: True)
    await archive.restore(changed, order, officers=in_office(archive))


@pytest.mark.parametrize("defence", ["on", "off"])
async def test_an_order_is_followed_once_whatever_becomes_of_the_database(
    archive: Archive, monkeypatch: pytest.MonkeyPatch, defence: str
) -> None:
    """I-52."""
    if defence == "off":

        async def always(*_arguments: object) -> bool:
            return True

        monkeypatch.setattr(restore_order, "spend", always)
    officer = await archive.cabinet.enrol(PIN)
    file, dump = await put_back_and_stopped(archive, officer)
    order = archive.order(file, *archive.officers)
    await archive.restore(file, order, officers=in_office(archive))
    await archive.put_back(dump)
    if defence == "off":
        await archive.restore(file, order, officers=in_office(archive))
        return
    with pytest.raises(NotRestored, match="followed before"):
        await archive.restore(file, order, officers=in_office(archive))


async def test_an_order_for_another_file_or_of_another_day_is_not_followed(archive: Archive) -> None:
    """I-52."""
    file = await archive.backup()
    await archive.cabinet.stop()
    for values in (
        {"backup_sha256": "0" * 64},
        {"ordered_at": utc_now() - ORDER_WITHIN - timedelta(minutes=1)},
        {"ordered_at": utc_now() + ORDER_AHEAD + timedelta(minutes=1)},
    ):
        with pytest.raises(NotRestored, match="the order is"):
            await archive.restore(file, archive.order(file, *archive.officers, **values), officers=in_office(archive))


async def test_nothing_is_restored_while_a_signer_runs_or_where_kafka_does_not_know_what_happened(
    archive: Archive,
) -> None:
    """I-51."""
    file = await archive.backup()
    with pytest.raises(NotRestored, match="runs"):
        await archive.restore(file, archive.order(file, *archive.officers), officers=in_office(archive))
    await archive.cabinet.stop()
    backup = await backup_file.opened(file, archive.cabinet.hsm)
    beyond = tuple(place.model_copy(update={"next_offset": place.next_offset + 1_000_000}) for place in backup.history)
    for history_of in (beyond, ()):
        other = await backup_file.sealed(backup.model_copy(update={"history": history_of}), archive.cabinet.hsm)
        with pytest.raises(NotRestored, match="does not have all since"):
            await archive.restore(other, archive.order(other, *archive.officers), officers=in_office(archive))


async def test_what_is_under_a_key_that_the_hsm_has_no_more_comes_back_from_no_backup(archive: Archive) -> None:
    """I-51."""
    officer = await archive.cabinet.enrol(PIN)
    file = await archive.backup()
    await archive.cabinet.stop()
    await archive.cabinet.hsm.destroy_secret_key(PEPPER)
    try:
        await archive.restore(file, archive.order(file, *archive.officers), officers=in_office(archive))
    finally:
        await archive.cabinet.hsm.ensure_mac_key(PEPPER)  # for the tests that share the token
    row = await archive.cabinet.row(officer)
    assert (row["wrapped"], row["pepper"]) == (None, None)
    assert await archive.cabinet.room.count("select count(*) from destroyed_key where label = $1", PEPPER) == 1


async def test_after_a_restore_an_officer_has_one_try_and_an_open_request_is_refused(archive: Archive) -> None:
    """I-51: how many wrong PINs came last is not known: the next one locks, a right one gives all tries back."""
    right, wrong = await archive.cabinet.enrol(PIN), await archive.cabinet.enrol(PIN)
    file = await archive.backup()
    request, _ = await archive.begun(right, pin=PIN)
    await archive.cabinet.stop()
    done = await archive.restore(file, archive.order(file, *archive.officers), officers=in_office(archive))
    assert done.rejected >= 1
    recorded = await archive.cabinet.room.pool.fetch(
        "select value from recorded where topic = $1", topics.REJECTED.name
    )
    refusals = [Rejected.model_validate_json(row["value"]) for row in recorded]
    (mine,) = [one for one in refusals if one.request_id == request.request_id]
    assert (mine.reason, mine.documents) == (Reason.AUTHORISATION_EXPIRED, None)
    await archive.cabinet.start()
    assert (await archive.authorise(wrong, pin=WRONG))[0] == Reason.PIN_INCORRECT
    assert (await archive.authorise(wrong, pin=PIN))[0] == Reason.PIN_LOCKED
    assert (await archive.authorise(right, pin=PIN))[0] == "signed"
    assert (await archive.cabinet.row(right))["wrong_pins"] == 0


async def test_a_backup_says_what_it_says_and_holds_no_pin(archive: Archive) -> None:
    officer = await archive.cabinet.enrol(PIN)
    await archive.authorise(officer, pin=PIN)
    content = json.loads((await archive.backup()).splitlines()[0])
    assert set(content) == {"made_at", "history", "custody_keys", "destroyed_keys", "credentials"}
    (mine,) = [one for one in content["credentials"] if one["credential_id"] == str(officer)]
    assert set(mine) == {
        *("credential_id", "user_id", "algorithm", "wrapped", "salt", "wrapping_key", "pepper", "memory_kib"),
        *("iterations", "parallelism", "wrong_pins", "locked_at", "destroyed_at", "created_at"),
    }
    assert PIN not in json.dumps(content)
