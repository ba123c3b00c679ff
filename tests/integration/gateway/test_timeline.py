"""Events become rows and counts once, in any order, quickly, and the server's life is the service's."""

import time
from collections import Counter
from itertools import pairwise
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from libs.contracts.base import Event
from libs.contracts.manifest import Header
from libs.contracts.progress import ReachedStage
from libs.runtime.health import Health
from services.gateway import store
from services.gateway.app import serve
from services.gateway.schemas import Counts
from services.gateway.status import status_of
from services.gateway.timeline import Advance, Documents, Entry
from tests.integration.gateway.conftest import Door, routed
from tests.support.requests import documents, header, new_user, requested
from tests.unit.gateway import histories
from tests.unit.gateway.histories import history, new_header, read, stamped, told

LONG = 10_000

SLICE = 25

STAGES: tuple[ReachedStage, ...] = ("signed", "verified", "posted")

Steps = list[tuple[Event, Any]]


async def test_the_same_events_ten_times_change_nothing(door: Door) -> None:
    head = new_header(3)
    events = history(head, posts=2)
    for event in events:
        await door.room.send(routed(door.routes, event), [event])
    everything = Counts(signed=3, verified=2, posted=2, rejected=1)
    await door.until(head, lambda status: (status.state, status.counts) == ("completed", everything), "the end of all")
    await all_handled(door)
    status, before = await door.status(head.request_id, head.user), await door.rows()
    for event in events:
        await door.room.send(routed(door.routes, event), [event] * 9)
    await all_handled(door)
    assert await door.rows() == before
    assert await door.status(head.request_id, head.user) == status


async def all_handled(door: Door) -> None:
    """Wait until everything that is on the topics of requests and of documents is handled."""
    await door.tap.read()
    own = door.routes
    lanes = {
        "": (
            own.requested,
            own.medium_resolved,
            own.otp_dispatched,
            own.authorisation_failed,
            own.cancel_answered,
            own.completed,
        ),
        ".documents": (own.progressed, own.rejected),
    }
    for lane, consumed in lanes.items():
        for topic in consumed:
            await door.room.all_committed(topic, len(door.tap.of(topic)), door.room.schema + lane)


async def test_a_request_is_shown_as_soon_as_its_caller_has_signed_it(door: Door) -> None:
    user = new_user()
    event = requested(header(user, 2, action="peraku"), documents(2), door.caller)
    await door.room.send(door.routes.requested, [event])
    head = Header.model_validate(event.manifest.header)
    status = await door.until(head, lambda _: True, "the request")
    assert (status.state, status.request, status.system, status.action, status.documents) == (
        "requested",
        head.request,
        "iGFMAS",
        "peraku",
        2,
    )


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
async def test_the_database_makes_the_same_of_every_order_and_slicing(door: Door, data: st.DataObject) -> None:
    head = new_header(4)
    whole = stamped(history(head, posts=3))
    order = data.draw(st.permutations(whole))
    bounds = [0, *sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=5))), len(whole)]
    for begin, end in pairwise(bounds):
        async with door.room.pool.acquire() as connection, connection.transaction():
            await store.advance(connection, read(order[begin:end]))
    async with door.room.pool.acquire() as connection:
        found = await store.told(connection, head.request_id)
        seqs = await connection.fetch("select seq from timeline where request_id = $1 order by seq", head.request_id)
    assert found is not None
    assert [row["seq"] for row in seqs] == list(range(1, found.seq + 1))  # no gap, so a stream can tell that it has all
    expected = status_of(told(read(whole)))
    assert status_of(found).model_copy(update={"seq": 0}) == expected.model_copy(update={"seq": 0})


async def test_the_rows_of_documents_say_how_many_had_reached_the_stage(door: Door) -> None:
    head = new_header(6)
    slices = [[0, 1], [2], [3, 4, 5]]
    for numbers in slices:
        async with door.room.pool.acquire() as connection, connection.transaction():
            await store.advance(connection, read(stamped(histories.signed(head, number) for number in numbers)))
    rows = await door.room.pool.fetch(
        "select seq, kind, reached from timeline where request_id = $1 order by seq", head.request_id
    )
    assert [(row["seq"], row["kind"], row["reached"]) for row in rows] == [
        (1, "signed", 2),
        (2, "signed", 3),
        (3, "signed", 6),
    ]


async def test_the_status_of_ten_thousand_documents_reads_no_row_of_a_document(door: Door) -> None:
    head = new_header(LONG)
    async with door.room.pool.acquire() as connection, connection.transaction():
        await store.advance(connection, read(stamped([histories.resolved(head), histories.dispatched(head)])))
        for stage in STAGES:
            for first in range(0, LONG, SLICE):
                await store.advance(connection, [slice_of(head, stage, range(first, first + SLICE))])
        found = await store.told(connection, head.request_id)
    assert found is not None
    assert (found.seq, len(found.rows)) == (2 + 3 * LONG // SLICE, 2)  # the documents' rows are not read
    status = await door.status(head.request_id, head.user)
    assert (status.state, status.counts) == ("ending", Counts(signed=LONG, verified=LONG, posted=LONG))
    async with door.room.pool.acquire() as connection:
        await store.advance(connection, read(stamped([histories.completed(head, range(LONG))])))
    answer = await door.get(f"/v1/signings/{head.request_id}", door.token(head.user))
    assert len(answer.json()["completed"]["posted"]) == LONG


def slice_of(head: Header, stage: ReachedStage, numbers: range) -> Advance:
    """What the loop makes of a slice of documents."""
    documents = Documents(documents=tuple(f"d{number:05d}" for number in numbers))
    entry = Entry(stage, histories.BEGIN, documents)
    return Advance(head.request_id, [entry], reached=Counter({stage: len(numbers)}))


async def test_the_server_stops_with_the_service_and_starts_again(door: Door) -> None:
    health = Health("twin")
    nobody = await door.connections.of(None)
    async with serve(door.settings, health, door.routes) as port:
        assert (await nobody.get(f"https://127.0.0.1:{port}/v1/sealing-key")).status_code == 401
        began = time.monotonic()
    assert time.monotonic() - began < 20
    with pytest.raises(httpx.ConnectError):
        await nobody.get(f"https://127.0.0.1:{port}/v1/sealing-key")
    taken = door.settings.model_copy(update={"gateway_port": door.http.base_url.port})
    with pytest.raises(OSError, match="in use"):
        async with serve(taken, Health("twin"), door.routes):
            pass
