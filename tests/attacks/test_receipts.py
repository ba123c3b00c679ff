"""A receipt is made of the database alone, years later; of what was changed there none is.

The tables are posting's and the witness's; nothing of Kafka is asked. Who changes them is their superuser.
"""

import json
from pathlib import Path

import pytest

from deploy.native.parts import operator_environment
from libs.gpki_client.record import verify_record
from services.igfmas.evidence import check, write_evidence
from tests.attacks.signing_log import Victim, victim
from tests.attacks.test_signing_log import CHANGED, RELOGGED
from tests.support.chain import client, officers
from tests.support.command_line import gpki

__all__ = ["client", "officers", "victim"]

pytestmark = [pytest.mark.stack, pytest.mark.timeout(600)]

NO_KAFKA = {"GPKI_KAFKA_BOOTSTRAP": "127.0.0.1:1"}


async def receipt(victim: Victim, *arguments: str, person: str = "auditor") -> tuple[int, str, str]:
    environment = operator_environment(victim.client.stack.layout, person) | NO_KAFKA
    return await gpki(victim.client.stack, "receipt", *arguments, more=environment)


def kept(victim: Victim, folder: Path) -> Path:
    """The documents as iGFMAS has them, under names of its own."""
    folder.mkdir()
    for number, paper in enumerate(victim.asked.papers):
        (folder / f"file {number}").write_bytes(paper.content)
    return folder


async def test_a_receipt_is_made_without_kafka_and_is_the_one_that_could_be_had_at_the_time(
    victim: Victim, tmp_path: Path
) -> None:
    """I-44: of a whole request by the auditor; the same bytes as of what was on Kafka; proved by three means."""
    out, documents = tmp_path / "out", kept(victim, tmp_path / "documents")
    status, told, why = await receipt(victim, str(victim.asked.id), "--out", str(out), "--documents", str(documents))
    assert (status, why) == (0, "")
    assert "5 receipts" in told
    for paper in victim.asked.papers:
        seen = victim.asked.seen.documents[paper.entry.id]
        assert seen.verified is not None
        assert seen.posted is not None
        write_evidence(
            tmp_path / "then" / paper.entry.id,
            content=paper.content,
            verified=seen.verified,
            posted=seen.posted,
            trust=await victim.client.trust.pem_for(seen.verified),
            inclusion=victim.client.chain.log.inclusion_of(seen.posted),
        )
        for name in ("record.json", "document", "signature.p7s", "trust.pem"):
            then, now = (folder / paper.entry.id / name for folder in (tmp_path / "then", out))
            assert now.read_bytes() == then.read_bytes(), name
        assert check(out / paper.entry.id).holds
        assert verify_record(out / paper.entry.id, pinned=victim.client.trust.pinned).logged_at is not None
    status, told, _ = await gpki(victim.client.stack, "verify", str(out), more=NO_KAFKA)
    assert status == 0
    assert "5 of 5 hold" in told


async def test_of_one_document_without_its_bytes_all_is_written_that_the_platform_has(
    victim: Victim, tmp_path: Path
) -> None:
    paper = victim.asked.papers[1]
    status, told, _ = await receipt(victim, paper.entry.id, "--out", str(tmp_path), person="operator")
    assert (status, "0 of them with their document" in told) == (0, True)
    assert names(tmp_path) == {paper.entry.id}
    status, told, _ = await gpki(victim.client.stack, "verify", str(tmp_path))
    assert status == 1
    (tmp_path / paper.entry.id / "document").write_bytes(paper.content)
    assert (await gpki(victim.client.stack, "verify", str(tmp_path)))[0] == 0
    status, _, why = await receipt(victim, paper.entry.id, "--out", str(tmp_path))
    assert (status, "is there already" in why) == (1, True), "what is there stays"
    status, _, why = await receipt(victim, "no-such-document", "--out", str(tmp_path))
    assert (status, "nothing is posted" in why) == (1, True)


LEAVES = "UPDATE posting.signing_log SET leaf_hash = sha256(leaf_hash) WHERE position <> $1"
GONE = "DELETE FROM posting.signing_log WHERE position = $1 + 1"
TAKEN_OUT = "DELETE FROM posting.signing_log WHERE position = $1"

CHANGES = {
    "the record": ([CHANGED], "is not the one that was logged"),
    "the record and its leaf": ([CHANGED, RELOGGED], "the log is not what was signed"),
    "the leaves beside it": ([LEAVES], "the log is not what was signed"),
    "a leaf beside it is gone": ([GONE], "is not whole"),
    "its own leaf is gone": ([TAKEN_OUT], "not in the signing log"),
}


@pytest.mark.parametrize("what", CHANGES)
async def test_of_what_was_changed_no_receipt_is_made(victim: Victim, tmp_path: Path, what: str) -> None:
    """I-44."""
    statements, complaint = CHANGES[what]
    place, name = victim.positions[2], await named(victim, victim.positions[2])
    async with victim.touched():
        for statement in statements:
            await victim.do(statement, place)
        status, _, why = await receipt(victim, name, "--out", str(tmp_path / "out"))
    assert status == 1
    assert complaint in why
    assert not (tmp_path / "out").exists()
    assert (await receipt(victim, name, "--out", str(tmp_path / "out")))[0] == 0, "of what is as it was there is one"


UNSIGNED = "UPDATE monitor.countersigned SET note = replace(note, '— gpki-monitor ', '— gpki-nobody ')"
FORGOTTEN = "UPDATE monitor.countersigned SET note = NULL"
SAVED = "CREATE TABLE public.saved_notes AS SELECT size, note FROM monitor.countersigned"
RESTORED = "UPDATE monitor.countersigned AS c SET note = s.note FROM public.saved_notes AS s WHERE s.size = c.size"


@pytest.mark.parametrize("change", [UNSIGNED, FORGOTTEN])
async def test_without_the_witness_s_own_signature_there_is_no_receipt(
    victim: Victim, tmp_path: Path, change: str
) -> None:
    """I-44: nor is the log's alone enough."""
    name = victim.asked.papers[0].entry.id
    await victim.do(SAVED)
    try:
        await victim.do(change)
        status, _, why = await receipt(victim, name, "--out", str(tmp_path))
    finally:
        await victim.do(RESTORED)
        await victim.do("DROP TABLE public.saved_notes")
    assert status == 1
    assert "not signed by the pinned keys" in why or "none whose note is kept" in why
    assert (await receipt(victim, name, "--out", str(tmp_path)))[0] == 0


async def test_when_the_first_checkpoint_s_note_does_not_hold_the_newest_stands_for_it(
    victim: Victim, tmp_path: Path
) -> None:
    """As after the witness's key was replaced: under the new key, what is old is proved by the newest."""
    name = victim.asked.papers[0].entry.id
    sizes = [row["size"] for row in await victim.client.database.fetch("SELECT size FROM monitor.countersigned")]
    await victim.do(SAVED)
    try:
        await victim.do(f"{UNSIGNED} WHERE size < $1", max(sizes))
        status, _, _ = await receipt(victim, name, "--out", str(tmp_path))
    finally:
        await victim.do(RESTORED)
        await victim.do("DROP TABLE public.saved_notes")
    assert status == 0
    record = json.loads((tmp_path / name / "record.json").read_text())
    assert record["inclusion"]["checkpoint"].splitlines()[1] == str(max(sizes))


def names(folder: Path) -> set[str]:
    return {one.name for one in folder.iterdir()}


async def named(victim: Victim, place: int) -> str:
    found = await victim.client.value(
        "SELECT document_id FROM posting.record JOIN posting.signing_log USING (record_id) WHERE position = $1", place
    )
    return str(found)
