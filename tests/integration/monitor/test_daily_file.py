"""A file for each day: every document of it, once, in bytes that never change."""

import asyncio
import csv
import hashlib
import json
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from libs.contracts import topics
from libs.contracts.manifest import Manifest
from libs.contracts.record import record_id_of
from services.monitor import closing, store
from services.monitor.closing import midnight_after
from services.monitor.facts import KUALA_LUMPUR
from tests.integration.monitor.conftest import USER, Watch, completed, posted, request, resolved
from tests.support.waiting import eventually

pytestmark = pytest.mark.stack

DAY = date(2026, 3, 14)
NOON = datetime(2026, 3, 14, 4, tzinfo=UTC)
CALLERS = ("igfmas", "someone-else")
OF_THE_CLOCK = {"posted-not-signed", "clocks-differ"}
"""Alarms that come of a monitor whose clock stands in March."""

LATE = datetime(2026, 3, 14, 15, 59, 59, 999999, tzinfo=UTC)
"""A microsecond before midnight in Kuala Lumpur."""


def file_of(watch: Watch, day: date = DAY, *, caller: str = "igfmas") -> Path:
    return watch.folder / caller / f"{caller}-{day.isoformat()}.csv"


async def written(watch: Watch, day: date = DAY) -> Path:
    """The file of a day, once its summary is there too, and the monitor knows it."""

    async def known() -> bool:
        return bool(await watch.database.fetchval("SELECT files IS NOT NULL FROM daily_file WHERE day = $1", day))

    await eventually(known, f"the file of {day}")
    return file_of(watch, day)


def rows_of(file: Path) -> list[dict[str, str]]:
    with file.open(newline="", encoding="utf-8") as opened:
        return list(csv.DictReader(opened, strict=True))


def summary_of(file: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(file.with_name(f"{file.name}.json").read_text())
    return found


async def chain(watch: Watch, asked: Manifest, at: datetime, *, refused: tuple[str, ...] = ()) -> None:
    """What the topics say of a request from its medium to its end."""
    await watch.send(topics.MEDIUM_RESOLVED, [resolved(asked)])
    await watch.send(topics.POSTED, [one for one in posted(asked, at) if one.document_id not in refused])
    await watch.send(topics.COMPLETED, [completed(asked, at, refused=refused)])


def of_another(asked: Manifest) -> Manifest:
    """The same by a caller of another name."""
    return asked.model_copy(update={"header": asked.header.model_copy(update={"caller": "someone-else"})})


async def test_a_day_is_listed_whole_with_counts_and_totals_that_anyone_can_check(watch: Watch) -> None:
    """I-36."""
    two, whole, foreign = request(2), request(2), of_another(request(1))
    unknown = request(2)
    watch.now = NOON
    async with watch.running(clock=watch.clock):
        await chain(watch, two, LATE, refused=(two.documents[1].id,))
        await chain(watch, foreign, NOON)
        await watch.send(topics.MEDIUM_RESOLVED, [resolved(whole)])
        await watch.send(topics.COMPLETED, [completed(whole, NOON, refused=None)])
        await watch.send(topics.COMPLETED, [completed(unknown, NOON + timedelta(hours=1), refused=None)])
        await watch.read()
        assert not watch.folder.exists(), "the day is not over"
        watch.now = midnight_after(DAY) + timedelta(seconds=1)
        file = await written(watch)
    rows = rows_of(file)
    first, second = two.documents
    assert [row["document_id"] for row in rows] == [*(one.id for one in whole.documents), "", first.id, second.id]
    assert rows[3] == {
        "request_id": str(two.header.request_id),
        "caller": "igfmas",
        "caller_request": two.header.request,
        "system": two.header.system,
        "office": two.header.office,
        "user": USER,
        "action": "sah",
        "document_id": first.id,
        "amount": "1250.50",
        "currency": "MYR",
        "outcome": "posted",
        "posted_at": "2026-03-14T23:59:59.999999+08:00",
        "record_id": str(record_id_of(two.header.request_id, first.id)),
        "stage": "",
        "reason": "",
        "completed_at": "2026-03-14T23:59:59.999999+08:00",
    }
    refused = [row for row in rows if row["outcome"] == "rejected"]
    assert {(row["stage"], row["reason"]) for row in refused} == {("hsm_signer", "certificate-revoked")}
    assert [row["amount"] for row in refused] == ["1250.50", "1250.50", "", "1250.50"]
    assert all(row["posted_at"] == row["record_id"] == "" for row in refused)
    content = file.read_bytes()
    assert content.count(b"\r\n") == content.count(b"\n") == 6, "RFC 4180"
    assert summary_of(file) == {
        "format": "gpki.daily-file.v1",
        "file": file.name,
        "sha256": hashlib.sha256(content).hexdigest(),
        "day": "2026-03-14",
        "time_zone": "Asia/Kuala_Lumpur",
        "caller": "igfmas",
        "requests": 3,
        "lines": 5,
        "posted": 1,
        "rejected": 4,
        "posted_total": {"MYR": "1250.50"},
    }
    assert file.stat().st_mode & 0o777 == 0o640


async def test_each_caller_has_files_of_its_own_from_its_first_request_on(watch: Watch) -> None:
    """I-36: nobody's documents are in another's directory, and a day without one of its own is told to each."""
    first, second, foreign = request(2), request(), of_another(request(3))
    watch.now = NOON  # else the days that are over are closed between one request and the next
    async with watch.running(clock=watch.clock):
        await chain(watch, first, NOON)
        await chain(watch, foreign, NOON + timedelta(days=1), refused=(foreign.documents[0].id,))
        await chain(watch, second, NOON + timedelta(days=1))
        await watch.read()
        watch.now = midnight_after(DAY) + timedelta(days=2, seconds=1)
        await written(watch, DAY + timedelta(days=2))
    whole = {file.relative_to(watch.folder).as_posix() for file in watch.folder.glob("*/*.csv")}
    names = {caller: [file_of(watch, DAY + timedelta(days=n), caller=caller) for n in range(3)] for caller in CALLERS}
    igfmas, other = names.values()
    assert whole == {file.relative_to(watch.folder).as_posix() for file in (*igfmas, *other[1:])}
    lines = {file: [row["document_id"] for row in rows_of(file)] for file in (*igfmas, *other[1:])}
    assert list(lines.values()) == [
        *([entry.id for entry in asked.documents] for asked in (first, second)),
        [],
        [entry.id for entry in foreign.documents],
        [],
    ]
    told = summary_of(other[1])
    assert {name: told[name] for name in ("caller", "lines", "posted", "rejected", "posted_total")} == {
        "caller": "someone-else",
        "lines": 3,
        "posted": 2,
        "rejected": 1,
        "posted_total": {"MYR": "2501.00"},
    }
    assert told["sha256"] == hashlib.sha256(other[1].read_bytes()).hexdigest()
    assert {file.parent.stat().st_mode & 0o777 for file in (igfmas[0], other[1])} == {0o750}


async def test_what_comes_late_is_in_the_next_file_and_no_file_ever_changes(watch: Watch) -> None:
    """I-36: every request in one file, also one that was completed before midnight and told after it."""
    on_time, late, later = request(), request(), request()
    watch.now = midnight_after(DAY) + timedelta(seconds=1)
    async with watch.running(clock=watch.clock):
        await chain(watch, on_time, NOON)
        first = await written(watch)
        before = first.read_bytes(), first.stat().st_mtime_ns
        await chain(watch, late, NOON)
        await chain(watch, later, NOON + timedelta(days=2))
        await chain(watch, on_time, NOON)  # published again
        await watch.read()
        watch.now += timedelta(days=2)
        files = [await written(watch, DAY + timedelta(days=number)) for number in range(3)]
    named = [[row["request_id"] for row in rows_of(file)] for file in files]
    assert named == [[str(asked.header.request_id)] for asked in (on_time, late, later)]
    assert (first.read_bytes(), first.stat().st_mtime_ns) == before
    assert rows_of(files[1])[0]["completed_at"].startswith("2026-03-14T12:00"), "its own time is told"


async def test_a_day_without_a_document_has_its_file_too(watch: Watch) -> None:
    watch.now = midnight_after(DAY) + timedelta(days=1, seconds=1)
    async with watch.running(clock=watch.clock):
        await chain(watch, request(), NOON)
        file = await written(watch, DAY + timedelta(days=1))
    assert rows_of(file) == []
    assert summary_of(file)["lines"] == 0


@pytest.mark.parametrize("moment", ["before the file", "before the summary", "before it is known"])
async def test_a_crash_while_a_file_is_written_repeats_it_byte_for_byte(
    watch: Watch, moment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """I-36."""
    asked, after = request(30), request()
    watch.now = NOON
    reached = asyncio.Event()

    async def never(*_: object) -> None:
        reached.set()
        await asyncio.Event().wait()

    calls: list[str] = []
    whole = closing._whole  # the seam at which a process may end

    def ending(file: Path) -> Any:
        calls.append(file.suffix)
        if moment == "before the file" or (moment == "before the summary" and file.suffix == ".json"):
            reached.set()
            raise asyncio.CancelledError
        return whole(file)

    with monkeypatch.context() as broken:
        broken.setattr(closing, "_whole", ending)
        if moment == "before it is known":
            broken.setattr(store, "mark_written", never)
        async with watch.running(clock=watch.clock):
            await chain(watch, asked, NOON, refused=(asked.documents[3].id,))
            await watch.read()
            watch.now = midnight_after(DAY) + timedelta(seconds=1)
            await asyncio.wait_for(reached.wait(), 30)
    left = file_of(watch).read_bytes() if file_of(watch).exists() else None
    assert (left is None) == (moment == "before the file")
    assert calls
    async with watch.running(clock=watch.clock):
        await chain(watch, after, NOON)  # of the same day, and too late for it
        await watch.read()
        file = await written(watch)
    assert left in (None, file.read_bytes())
    assert [row["document_id"] for row in rows_of(file)] == [one.id for one in asked.documents]
    assert sorted(one.name for one in file.parent.iterdir()) == [file.name, f"{file.name}.json"]


async def test_a_file_waits_for_what_was_completed_and_is_not_told_as_posted_yet(watch: Watch) -> None:
    """Written without its time it could never be written the same again."""
    asked = request()
    watch.now = midnight_after(DAY) + timedelta(seconds=1)
    with capture_logs() as logs:
        async with watch.running(clock=watch.clock):
            await watch.send(topics.MEDIUM_RESOLVED, [resolved(asked)])
            await watch.send(topics.COMPLETED, [completed(asked, NOON)])
            await eventually(lambda: [log for log in logs if log.get("alarm") == "daily-file-incomplete"], "an alarm")
            assert not file_of(watch).exists()
            await watch.send(topics.POSTED, posted(asked, NOON))
            assert [row["outcome"] for row in rows_of(await written(watch))] == ["posted"]
    assert len([log for log in logs if log.get("alarm", "posted-not-signed") not in OF_THE_CLOCK]) == 1


def test_a_day_ends_at_midnight_in_kuala_lumpur() -> None:
    assert midnight_after(DAY).astimezone(UTC) == LATE + timedelta(microseconds=1)
    assert midnight_after(DAY).tzinfo is KUALA_LUMPUR
