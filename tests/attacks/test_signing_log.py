"""Whoever has full access to posting's database changes the signing log and its records: the audit says which row.

Each attack is done as the database's superuser, on the running stack, and put right at the end. That it works where
nothing defends is shown in tests/unit/operations/test_auditing.py.
"""

import json
import re
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from libs.contracts import topics
from libs.crypto import notes
from libs.crypto.merkle import leaf_hash
from libs.crypto.notes import Checkpoint, log_key
from libs.gpki_client.errors import RecordError
from libs.gpki_client.record import verify_record
from libs.runtime.clock import utc_now
from services.igfmas.evidence import write_evidence
from tests.attacks.signing_log import SECONDS, Victim, alarms, between, publish, signed_by_the_log, victim
from tests.support.chain import client, officers
from tests.support.command_line import gpki
from tests.support.journal import history
from tests.support.stack import Stack
from tests.support.waiting import eventually

__all__ = ["client", "officers", "victim"]

pytestmark = [pytest.mark.stack, pytest.mark.timeout(600)]


async def test_nothing_is_found_where_nothing_was_done(victim: Victim) -> None:
    assert await victim.audit() == (0, {})


CHANGED = """
WITH named AS (
    UPDATE posting.record SET amount = '9250.00'
    WHERE record_id = (SELECT record_id FROM posting.signing_log WHERE position = $1)
    RETURNING record_id
)
UPDATE posting.record_content AS c SET bytes = overlay(
    c.bytes PLACING convert_to(replace(convert_from(r.value, 'utf8'), '"1250.00"', '"9250.00"'), 'utf8')
    FROM r.starts + 1
)
FROM named JOIN posting.posted_record AS r USING (record_id) WHERE c.content_id = r.content_id
"""
RELOGGED = """
UPDATE posting.signing_log AS l SET leaf_hash = sha256('\\x00'::bytea || r.value)
FROM posting.posted_record AS r WHERE r.record_id = l.record_id AND l.position = $1
"""
DELETED = """
WITH gone AS (DELETE FROM posting.signing_log WHERE position = $1 RETURNING record_id)
DELETE FROM posting.record USING gone WHERE record.record_id = gone.record_id
"""
CLOSED_UP = "UPDATE posting.signing_log SET position = position - 1 WHERE position > $1"
INSERTED = """
WITH new AS (
    INSERT INTO posting.record
    SELECT gen_random_uuid(), request_id, place + 1000, system, 'forged-' || gen_random_uuid(), action, user_id, sha256,
        amount, currency, posted_at, content_id, starts, size
    FROM posting.record JOIN posting.signing_log USING (record_id) WHERE position = $1
    RETURNING record_id
)
INSERT INTO posting.signing_log
SELECT (SELECT max(position) + 1 FROM posting.signing_log), leaf_hash, new.record_id
FROM new CROSS JOIN posting.signing_log WHERE position = $1
"""
TRUNCATED = "DELETE FROM posting.signing_log WHERE position >= $1"


async def test_a_record_that_was_changed_is_named(victim: Victim) -> None:
    """I-37: by its leaf, which its change does not make."""
    place = victim.positions[2]
    async with victim.touched():
        await victim.do(CHANGED, place)
        status, found = await victim.audit()
    assert status == 1
    assert found.keys() == {"records that are not what was logged"}
    assert all(f"position {place}:" in one for one in found["records that are not what was logged"])


@pytest.mark.parametrize(
    "nowhere",
    ["size = -1", "starts = -1", "starts = 2147483647", "size = 2147483647", "content_id = gen_random_uuid()"],
)
async def test_a_record_that_points_nowhere_is_named_and_hides_no_other(victim: Victim, nowhere: str) -> None:
    """Whoever inserts such a row, as posting may, would otherwise have no audit read to its end again."""
    place = victim.positions[2]
    pointed = f"UPDATE posting.record SET {nowhere} WHERE record_id ="
    async with victim.touched():
        await victim.do(f"{pointed} (SELECT record_id FROM posting.signing_log WHERE position = $1)", place)
        await victim.do(CHANGED, victim.positions[4])
        status, found = await victim.audit()
    assert status == 1
    named = found["records that are not what was logged"]
    assert [int(one.partition(":")[0].removeprefix("position ")) for one in named] == [place, victim.positions[4]]


async def test_a_record_that_was_changed_with_its_leaf_is_named_by_what_was_told_and_by_what_was_signed(
    victim: Victim,
) -> None:
    """I-42: the signed checkpoint says so when `posted` is off its topic too."""
    place = victim.positions[2]
    async with victim.touched():
        await victim.do(CHANGED, place)
        await victim.do(RELOGGED, place)
        status, found = await victim.audit()
    assert status == 1
    assert found.keys() == {"records that `posted` told otherwise", "positions that are not what was signed"}
    assert [f"position {place}:" in one for one in found["records that `posted` told otherwise"]] == [True]
    assert between(found["positions that are not what was signed"][0], place)


async def test_a_row_that_was_deleted_is_named(victim: Victim) -> None:
    place = victim.positions[1]
    async with victim.touched():
        await victim.do(DELETED, place)
        status, found = await victim.audit()
    assert status == 1
    assert found["gaps in the signing log"] == [f"position {place}"]
    assert [f"position {place}:" in one for one in found["posted, and there is no record"]] == [True]
    assert between(found["positions that are not what was signed"][0], place)


async def test_a_row_that_was_deleted_and_the_gap_closed_is_named(victim: Victim) -> None:
    """Every position after it moved: the first that was signed otherwise is where it was done."""
    place = victim.positions[1]
    async with victim.touched():
        await victim.do(DELETED, place)
        await victim.do(CLOSED_UP, place)
        status, found = await victim.audit()
    assert status == 1
    assert any(f"position {place}:" in one for one in found["posted, and there is no record"])
    assert between(found["positions that are not what was signed"][0], place)
    assert "the signing log is shorter than it was" in found


async def test_a_row_that_was_inserted_is_named(victim: Victim) -> None:
    async with victim.touched():
        end = await victim.client.value("SELECT max(position) + 1 FROM posting.signing_log")
        await victim.do(INSERTED, victim.positions[0])
        status, found = await victim.audit()
    assert status == 1
    assert any(f"position {end}:" in one for one in found["records whose columns are not the record's own"])


async def test_rows_that_were_exchanged_are_named(victim: Victim) -> None:
    place = victim.positions[0]
    async with victim.touched():
        rows = "SELECT leaf_hash, record_id FROM posting.signing_log WHERE position IN ($1, $2) ORDER BY position"
        first, second = await victim.client.database.fetch(rows, place, place + 1)
        await victim.do("DELETE FROM posting.signing_log WHERE position IN ($1, $2)", place, place + 1)
        for position, row in ((place, second), (place + 1, first)):
            await victim.do("INSERT INTO posting.signing_log VALUES ($1, $2, $3)", position, *row)
        status, found = await victim.audit()
    assert status == 1
    told = found["records that `posted` told otherwise"]
    assert {re.split(r"[ :]", one)[1] for one in told} == {str(place), str(place + 1)}
    assert between(found["positions that are not what was signed"][0], place)


async def test_a_log_that_was_cut_off_is_shorter_than_what_was_signed(victim: Victim) -> None:
    place = victim.positions[3]
    async with victim.touched():
        gone = await victim.client.value("SELECT count(*) FROM posting.signing_log WHERE position >= $1", place)
        await victim.do(TRUNCATED, place)
        await victim.do("DELETE FROM posting.checkpoint WHERE size > $1", place)
        status, found = await victim.audit()
    assert status == 1
    shorter = found["the signing log is shorter than it was"]
    assert any(one.startswith(f"{place} positions; a countersigned checkpoint") for one in shorter)
    assert found["checkpoints that are gone"]
    assert len(found["records that are not in the signing log"]) == gone


async def test_a_whole_log_that_was_written_anew_and_signed_by_posting_itself_is_refused_by_its_witness(
    victim: Victim,
) -> None:
    """I-42, I-43: record, leaf, tree and checkpoints alike; posting's own HSM signs it, monitor does not."""
    stack, place = victim.client.stack, victim.positions[2]
    before = len(alarms(stack, "checkpoint-inconsistent"))
    checkpoints = len(await history(stack, topics.LOG_CHECKPOINT))
    countersigned = await notes_countersigned(stack)
    async with victim.touched():
        await victim.do(CHANGED, place)
        await victim.do(RELOGGED, place)
        await victim.do("TRUNCATE posting.log_node, posting.checkpoint")
        stack.kill("posting", signal.SIGCONT)

        async def signed() -> bool:
            return len(await history(stack, topics.LOG_CHECKPOINT)) > checkpoints

        await eventually(signed, "posting signs what its database says", seconds=SECONDS, every=1)
        await eventually(
            lambda: len(alarms(stack, "checkpoint-inconsistent")) > before, "it is refused", seconds=SECONDS, every=1
        )
        await victim.freeze()
        status, found = await victim.audit()
    assert await notes_countersigned(stack) == countersigned
    assert status == 1
    assert any("a countersigned checkpoint" in one for one in found["positions that are not what was signed"])
    assert await victim.audit() == (0, {}), "all is as it was"


@pytest.mark.parametrize("signed_by", ["another key", "the log's own key"])
async def test_a_checkpoint_of_another_tree_is_never_countersigned(
    victim: Victim, signed_by: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """I-43: who writes to the broker, or has posting's HSM sign what he likes; the true one is countersigned."""
    stack = victim.client.stack
    countersigned = await notes_countersigned(stack)
    last = max(map(notes.read, countersigned), key=lambda one: one.size)
    forged = Checkpoint(last.origin, last.size, leaf_hash(uuid4().bytes), utc_now())
    if signed_by == "another key":
        private = ec.generate_private_key(ec.SECP256R1())
        public = log_key(last.origin, private.public_key())
        note = notes.sign(forged, public, lambda data: private.sign(data, ec.ECDSA(hashes.SHA256())))
    else:
        note = await signed_by_the_log(stack, forged, monkeypatch)
    before = len(alarms(stack, "checkpoint-inconsistent"))
    await publish(stack, note)
    await eventually(
        lambda: len(alarms(stack, "checkpoint-inconsistent")) > before, "an alarm", seconds=SECONDS, every=0.5
    )
    after = await notes_countersigned(stack)
    assert forged.root not in {notes.read(one).root for one in after}
    assert after == countersigned


async def notes_countersigned(stack: Stack) -> set[str]:
    """Each once: a witness that begins to read again, as after any failure, says its last one once more."""
    return {json.loads(record.value or b"")["note"] for record in await history(stack, topics.LOG_COUNTERSIGNED)}


async def test_a_receipt_is_proven_without_the_platform_and_names_what_was_changed(
    victim: Victim, tmp_path: Path
) -> None:
    """I-44: by `gpki verify` with nothing but the folder and three pinned files."""
    paper = victim.asked.papers[2]
    seen = victim.asked.seen.documents[paper.entry.id]
    assert seen.verified is not None
    assert seen.posted is not None
    folder, pki = tmp_path / "receipts" / "one", tmp_path / "pinned"
    write_evidence(
        folder,
        content=paper.content,
        verified=seen.verified,
        posted=seen.posted,
        trust=await victim.client.trust.pem_for(seen.verified),
        inclusion=victim.client.chain.log.inclusion_of(seen.posted),
    )
    pki.mkdir()
    for name in ("root.pem", "log.vkey", "witness.vkey"):
        (pki / name).write_bytes((victim.client.stack.layout.pki / name).read_bytes())
    nothing_else = {"GPKI_PKI_DIR": str(pki), "GPKI_KAFKA_BOOTSTRAP": "127.0.0.1:1"}

    status, told, why = await gpki(victim.client.stack, "verify", str(folder), more=nothing_else)
    assert (status, why) == (0, "")
    assert f"sah by {victim.asked.officer.user}" in told

    record = json.loads((folder / "record.json").read_text())
    for check, change in _changes(record).items():
        (folder / "record.json").write_text(json.dumps(record | change))
        with pytest.raises(RecordError) as refused:
            verify_record(folder, pinned=victim.client.trust.pinned)
        assert refused.value.check == check
    status, told, _ = await gpki(victim.client.stack, "verify", str(folder.parent), more=nothing_else)
    assert status == 1
    assert "FAILS  one: witness: not signed by gpki-monitor" in told
    (folder / "record.json").unlink()
    status, told, _ = await gpki(victim.client.stack, "verify", str(folder), more=nothing_else)
    assert (status, told) == (2, ""), "nothing to check is no proof"


def _changes(record: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The check that fails → what was changed. The last one: the witness never saw it."""
    inclusion = record["inclusion"]
    text, _, signatures = inclusion["checkpoint"].rpartition("\n\n")
    by_log, by_witness, _ = signatures.split("\n")
    lines: Sequence[str] = text.split("\n")
    other_path = [bytes(32).hex(), *inclusion["path"][1:]]
    later = "\n".join([*lines[:3], "time 2000000000"])
    return {
        "leaf": {"posted_at": "2030-01-01T00:00:00.000000Z"},
        "inclusion": {"inclusion": {**inclusion, "path": other_path}},
        "log": {"inclusion": {**inclusion, "checkpoint": f"{later}\n\n{by_log}\n{by_witness}\n"}},
        "witness": {"inclusion": {**inclusion, "checkpoint": f"{text}\n\n{by_log}\n"}},
    }
