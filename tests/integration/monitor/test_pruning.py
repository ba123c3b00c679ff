"""What is settled, listed and old goes; what is not stays, and what is repeated of it is in no second file."""

from datetime import UTC, date, datetime, timedelta

import pytest

from libs.contracts import topics
from libs.contracts.manifest import Manifest
from services.monitor import pruning
from services.monitor.closing import midnight_after
from tests.integration.monitor.conftest import Watch, completed, posted, rejected, request, resolved, signed
from tests.support.waiting import eventually

pytestmark = pytest.mark.stack

DAY = date(2026, 3, 14)
NOON = datetime(2026, 3, 14, 4, tzinfo=UTC)
KEEP = timedelta(days=30)
CLOSED = midnight_after(DAY) + timedelta(seconds=1)
GONE = midnight_after(DAY) + KEEP + timedelta(seconds=1)
HOUR = timedelta(hours=1)
PATIENT = {
    "signed_not_posted_after": HOUR,
    "token_signed_not_posted_after": HOUR,
    "posted_not_signed_after": HOUR,
}


async def kept(watch: Watch, asked: Manifest) -> tuple[int, int]:
    """Rows of a request, and of its documents."""
    row = await watch.database.fetchrow(
        "SELECT (SELECT count(*) FROM request WHERE request_id = $1),"
        " (SELECT count(*) FROM document WHERE request_id = $1)",
        asked.header.request_id,
    )
    assert row is not None
    return row[0], row[1]


async def chain(watch: Watch, asked: Manifest, *, refused: int = 0, by_whom: bool = True) -> None:
    """What the topics say of a request that was completed at noon; its last `refused` documents were refused."""
    names = [entry.id for entry in asked.documents]
    names = names[len(names) - refused :]
    await watch.send(topics.MEDIUM_RESOLVED, [resolved(asked)])
    if by_whom:
        await watch.send(topics.SIGNED, signed(asked))
    await watch.send(topics.POSTED, [one for one in posted(asked, NOON) if one.document_id not in names])
    if names:
        await watch.send(topics.REJECTED, [rejected(asked, names)])
    await watch.send(topics.COMPLETED, [completed(asked, NOON, refused=tuple(names))])


async def written(watch: Watch, day: date, *, seconds: float = 30) -> None:
    query = "SELECT files IS NOT NULL FROM daily_file WHERE day = $1"
    await eventually(lambda: watch.database.fetchval(query, day), f"the file of {day}", seconds=seconds)


async def prune(watch: Watch) -> None:
    """One look, as the monitor's own."""
    await pruning.Pruning(pool=watch.database, clock=watch.clock, keep=KEEP).look()


async def test_what_is_settled_listed_and_old_goes_in_steps_and_nothing_else(
    watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pruning, "AT_ONCE", 2)
    settled = [request(2) for _ in range(5)]
    unposted, by_token, unsigned, unfinished, told = (request() for _ in range(5))
    watch.now = NOON
    async with watch.running(clock=watch.clock, keep=KEEP, **PATIENT):
        for asked in (*settled, unposted, by_token, told):
            await chain(watch, asked, refused=len(asked.documents) - 1)
        await chain(watch, unsigned, by_whom=False)
        await watch.send(topics.MEDIUM_RESOLVED, [resolved(unfinished)])
        await watch.send(topics.SIGNED, signed(unfinished))
        await watch.read()
    watch.now = GONE
    await prune(watch)
    assert [await kept(watch, asked) for asked in settled] == [(1, 2)] * 5, "old, and in no file yet"
    watch.now = CLOSED
    async with watch.running(clock=watch.clock, keep=KEEP, **PATIENT):
        await written(watch, DAY)
    for asked, change in (
        (unposted, "posted_at = NULL"),
        (by_token, "token_signed_at = signed_at, signed_at = NULL, posted_at = NULL"),
        (told, "told_at = now()"),
    ):
        await watch.database.execute(f"UPDATE document SET {change} WHERE request_id = $1", asked.header.request_id)
    watch.now = GONE - timedelta(seconds=2)
    await prune(watch)
    assert [await kept(watch, asked) for asked in settled] == [(1, 2)] * 5, "a moment too young"
    watch.now = GONE
    await prune(watch)
    assert [await kept(watch, asked) for asked in settled] == [(0, 0)] * 5, "two at a time"
    for asked in (unposted, by_token, unsigned, unfinished, told):
        assert await kept(watch, asked) == (1, 1), "a person may still have to ask about it"
    await watch.database.execute("UPDATE document SET told_at = NULL WHERE request_id = $1", told.header.request_id)
    await prune(watch)
    assert await kept(watch, told) == (0, 0), "once it is answered it goes too"


@pytest.mark.timeout(240)
async def test_what_is_repeated_after_it_was_pruned_stands_in_no_second_file(watch: Watch) -> None:
    """I-36."""
    asked, late = request(2), request()
    watch.now = CLOSED
    async with watch.running(clock=watch.clock, keep=KEEP, **PATIENT):
        await chain(watch, asked)
        await watch.read()
        await written(watch, DAY)
    watch.now = GONE
    async with watch.running(clock=watch.clock, keep=KEEP, **PATIENT):
        await eventually(lambda: gone(watch, asked), "it is pruned")
        await written(watch, GONE.date() - timedelta(days=1), seconds=120)  # of each day since: for each it catches up
        await chain(watch, asked)
        await watch.send(topics.MEDIUM_RESOLVED, [resolved(late)])
        await watch.send(topics.POSTED, posted(late, GONE))
        await watch.send(topics.COMPLETED, [completed(late, GONE)])
        await watch.read()
        watch.now += timedelta(days=2)
        await written(watch, GONE.date())
    lines = {file.name: file.read_text() for file in watch.folder.glob("**/*.csv")}
    assert [name for name in lines if str(asked.header.request_id) in lines[name]] == [f"igfmas-{DAY}.csv"]
    assert sum(str(late.header.request_id) in text for text in lines.values()) == 1


async def gone(watch: Watch, asked: Manifest) -> bool:
    return await kept(watch, asked) == (0, 0)
