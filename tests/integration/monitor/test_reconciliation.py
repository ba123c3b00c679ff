"""What is signed is posted or rejected, and what is posted was signed: all else is an alarm, and nothing more."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from structlog.testing import capture_logs

from libs.contracts import topics
from libs.contracts.manifest import Manifest
from libs.runtime import metrics
from services.monitor.facts import READ
from tests.integration.monitor.conftest import Watch, posted, rejected, request, signed, token_signed
from tests.support.faults import reset
from tests.support.journal import ends_of
from tests.support.waiting import eventually

pytestmark = pytest.mark.stack

HOUR = timedelta(hours=1)
PATIENT = {
    "signed_not_posted_after": HOUR,
    "token_signed_not_posted_after": HOUR,
    "posted_not_signed_after": HOUR,
}
"""For what a busy machine may take its time with: nothing of it is late."""


def unreconciled(kind: str) -> float:
    return float(metrics.UNRECONCILED.labels("monitor", kind)._value.get())


def oldest(kind: str) -> float:
    return float(metrics.OLDEST_SECONDS.labels("monitor", kind)._value.get())


def alarms_of(logs: list[Any], kind: str, asked: Manifest) -> int:
    """How many documents of a request were named by alarms of this kind."""
    named = [one for log in logs if log.get("alarm") == kind for one in log["examples"]]
    return sum(one.startswith(str(asked.header.request_id)) for one in named)


async def test_signed_and_not_posted_is_one_alarm_with_an_age_and_is_over_when_it_is_posted(watch: Watch) -> None:
    """I-35: the alarm comes, comes once, and goes."""
    asked = request(3)
    names = {entry.id for entry in asked.documents}
    with capture_logs() as logs:
        async with watch.running(**PATIENT):
            await watch.send(topics.SIGNED, signed(asked))
            await watch.send(topics.POSTED, posted(asked)[:1])
            await watch.read()
        assert await watch.told(asked) == set(), "too young"
        async with watch.running():
            await eventually(lambda: unreconciled("signed-not-posted") == 2, "two are late")
            assert await watch.told(asked) == names - {asked.documents[0].id}
            assert oldest("signed-not-posted") > 0.2
            before = oldest("signed-not-posted")
            await eventually(lambda: oldest("signed-not-posted") > before, "it grows older")
            await watch.send(topics.SIGNED, signed(another := request()))
            await eventually(lambda: alarms_of(logs, "signed-not-posted", another) == 1, "the next is told")
            assert alarms_of(logs, "signed-not-posted", asked) == 2, "each is told once, however long it lasts"
            await watch.send(topics.POSTED, posted(another))
            await watch.send(topics.POSTED, posted(asked)[1:2])
            await watch.send(topics.REJECTED, [rejected(asked, [asked.documents[2].id])])
            await eventually(lambda: unreconciled("signed-not-posted") == 0, "none is late any more")
            await eventually(lambda: oldest("signed-not-posted") == 0, "nothing is open")
            await watch.answered(asked)
    assert alarms_of(logs, "signed-not-posted", asked) == 2
    assert alarms_of(logs, "posted-not-signed", asked) == 0
    assert sum(log["documents"] for log in logs if log["event"] == "reconciled") == 3


async def test_posted_and_never_signed_is_an_alarm_that_a_signature_of_a_token_ends_too(watch: Watch) -> None:
    """I-35."""
    by_hsm, by_token, by_nobody = request(), request(), request()
    with capture_logs() as logs:
        async with watch.running():
            for asked in (by_hsm, by_token, by_nobody):
                await watch.send(topics.POSTED, posted(asked))
            await eventually(lambda: unreconciled("posted-not-signed") == 3, "three are late")
            await watch.send(topics.SIGNED, signed(by_hsm))
            await watch.send(topics.TOKEN_SIGNED, token_signed(by_token))
            await eventually(lambda: unreconciled("posted-not-signed") == 1, "one is left")
            await watch.answered(by_hsm)
            await watch.answered(by_token)
            assert [len(await watch.told(asked)) for asked in (by_hsm, by_token, by_nobody)] == [0, 0, 1]
    assert [alarms_of(logs, "posted-not-signed", asked) for asked in (by_hsm, by_token, by_nobody)] == [1, 1, 1]
    assert not [log for log in logs if log.get("alarm") == "signed-not-posted"]


async def test_signed_by_a_token_and_not_posted_is_one_alarm_after_its_own_time(watch: Watch) -> None:
    """I-35: it waits for a CRL, was buried, or posting does not get to it; a rejection by one word answers it too."""
    asked, whole, by_hsm = request(3), request(2), request()
    kind = "token-signed-not-posted"
    names = {entry.id for entry in asked.documents}
    with capture_logs() as logs:
        async with watch.running(token_signed_not_posted_after=HOUR):
            await watch.send(topics.TOKEN_SIGNED, [*token_signed(asked), *token_signed(whole)])
            await watch.send(topics.POSTED, posted(asked)[:1])
            await watch.send(topics.SIGNED, signed(by_hsm))
            await eventually(lambda: alarms_of(logs, "signed-not-posted", by_hsm) == 1, "the HSM's is told sooner")
            await eventually(lambda: oldest(kind) > 0, "they have an age")
            assert unreconciled(kind) == 0
            assert await watch.told(asked) == await watch.told(whole) == set(), "too young"
        async with watch.running():
            await eventually(lambda: unreconciled(kind) == 4, "four are late")
            assert await watch.told(asked) == names - {asked.documents[0].id}
            assert unreconciled("signed-not-posted") == 1
            await watch.send(topics.TOKEN_SIGNED, token_signed(another := request()))
            await eventually(lambda: alarms_of(logs, kind, another) == 1, "the next is told")
            assert [alarms_of(logs, kind, one) for one in (asked, whole, by_hsm)] == [2, 2, 0], "each is told once"
            await watch.send(topics.POSTED, [*posted(another), *posted(asked)[1:2]])
            await watch.send(topics.REJECTED, [rejected(asked, [asked.documents[2].id]), rejected(whole, None)])
            await eventually(lambda: unreconciled(kind) == 0, "none is late any more")
            await eventually(lambda: oldest(kind) == 0, "nothing is open")
            await watch.answered(asked)
            await watch.answered(whole)
    assert [alarms_of(logs, kind, one) for one in (asked, whole, another)] == [2, 2, 1]


async def test_no_order_and_no_repeat_makes_an_alarm(watch: Watch) -> None:
    """I-35: between topics there is no order, and whatever was recorded may be published again."""
    straight, reverse, again, token, whole, whole_before, named_before, missing = (request(2) for _ in range(8))
    with capture_logs() as logs:
        async with watch.running(**PATIENT):
            await watch.send(topics.SIGNED, signed(straight))
            await watch.send(topics.POSTED, [*posted(reverse), *posted(straight), *posted(again)])
            await watch.send(topics.REJECTED, [rejected(whole_before, None), rejected(named_before, None)])
            await watch.send(topics.TOKEN_SIGNED, token_signed(token))
            await watch.send(topics.SIGNED, [*signed(reverse), *signed(again), *signed(whole), *signed(missing)])
            await watch.read()
            await watch.send(topics.REJECTED, [rejected(whole, None)])
            await watch.send(topics.SIGNED, [*signed(again), *signed(whole_before), *signed(named_before)])
            await watch.send(topics.POSTED, [*posted(again), *posted(token)])
            await watch.read()
        async with watch.running():
            await eventually(lambda: unreconciled("signed-not-posted") == 2, "those that truly are missing")
            await watch.send(topics.SIGNED, signed(more := request()))
            await eventually(lambda: unreconciled("signed-not-posted") == 3, "one more, when all the others are old")
            assert [len(await watch.told(one)) for one in (missing, more)] == [2, 1]
            for asked in (straight, reverse, again, token, whole, whole_before, named_before):
                assert await watch.told(asked) == set()
                assert alarms_of(logs, "signed-not-posted", asked) == alarms_of(logs, "posted-not-signed", asked) == 0
            assert unreconciled("posted-not-signed") == 0


async def test_a_monitor_that_was_away_loses_nothing_doubles_nothing_and_blames_nobody_for_it(watch: Watch) -> None:
    """I-35: halves on both sides of a restart meet; what came meanwhile is old at once, and is no alarm."""
    halves, meanwhile, missing = request(5), request(5), request(1)
    async with watch.running(**PATIENT):
        await watch.send(topics.SIGNED, [*signed(halves), *signed(missing)])
        await watch.read()
    began = await ends_of(watch.stack, *READ)
    await watch.send(topics.POSTED, [*posted(halves), *posted(meanwhile)])
    await watch.send(topics.SIGNED, signed(meanwhile))
    with capture_logs() as logs:
        async with watch.running():
            await watch.read()
            await eventually(lambda: unreconciled("signed-not-posted") == 1, "the one that is missing")
            for asked in (halves, meanwhile):
                assert await watch.told(asked) == set()
    for kind in ("signed-not-posted", "posted-not-signed"):
        assert alarms_of(logs, kind, halves) == alarms_of(logs, kind, meanwhile) == 0
    before = await watch.rows()
    assert len(before) == 11

    # Killed after the write and before the commit, it reads the same again; and so it does from the very beginning.
    await reset(watch.stack, "monitor", began)
    with capture_logs() as logs:
        async with watch.running():
            await watch.read()
            await watch.send(topics.POSTED, [*posted(halves), *posted(meanwhile)])
            await watch.read()
    assert await watch.rows() == before
    assert not [log for log in logs if "alarm" in log], "it was told before"


async def test_what_is_no_event_is_passed_over(watch: Watch) -> None:
    """Those who act on a topic bury it; the monitor writes nowhere, and reads on."""
    asked = request()
    async with watch.running() as health:
        await eventually(lambda: health.ready, "reader and witness have begun")
        for name in READ:
            for key, value in ((b"x", b"no event"), (None, b""), (b"\xff\x00", b'{"request_id": 7}'), (b"x", b"[1]")):
                await watch.wire.producer.send_and_wait(name, key=key, value=value, headers=[("x", b"\xff")])
        nul = posted(asked)[0].model_dump_json().replace(asked.documents[0].id, "a\\u0000b")
        await watch.wire.producer.send_and_wait(topics.POSTED.name, key=b"x", value=nul.encode())
        await watch.send(topics.SIGNED, signed(asked))
        await watch.read()
        assert health.ready
    assert len(await watch.rows()) == 1


async def test_a_forged_rejection_answers_for_nothing(watch: Watch) -> None:
    """I-35, I-38: who can write the broker would hide with it what he kept from being posted."""
    asked = request()
    event = rejected(asked, [asked.documents[0].id])
    forged = watch.wire.hands.event(topics.REJECTED, event, by="gateway", source="posting")
    bare = replace(forged, headers=forged.headers[:-1])
    answered = "SELECT rejected_at IS NOT NULL FROM document WHERE request_id = $1"
    async with watch.running(**PATIENT) as health:
        await eventually(lambda: health.ready, "reader and witness have begun")
        await watch.send(topics.SIGNED, signed(asked))
        await watch.wire.append([forged, bare])
        await watch.read()
        assert not await watch.database.fetchval(answered, asked.header.request_id)
        await watch.send(topics.REJECTED, [event])
        await watch.read()
        assert await watch.database.fetchval(answered, asked.header.request_id)
        assert health.ready
