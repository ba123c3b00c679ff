"""What was handled is handled: the same events ten times over, and every group put back to the start of its topics."""

import asyncio
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import pytest
from aiokafka import AIOKafkaProducer

from deploy.native.layout import SERVICES
from libs.contracts import topics
from libs.contracts.topics import MAX_DEAD_LETTER_BYTES
from libs.gpki_client.device import Device
from tests.support.chain import Client, Officers, papers, wrong
from tests.support.faults import all_read, read_again_from_the_start
from tests.support.journal import Raw, header, history
from tests.support.waiting import eventually

pytestmark = [pytest.mark.stack, pytest.mark.timeout(300)]

TIMES = 10

OF_TIME = {
    ("certificate_authority", "crl"),
    ("crl_verifier", "crl"),
    ("hsm_signer", "history"),
    *((service, table) for service in SERVICES for table in ("due", "unpublished")),
}
"""Tables that change while nothing happens: timers, CRLs that grow old, marks of what the broker has or has had."""


@dataclass(frozen=True)
class World:
    """Everything that a repeat could change: rows by table, events by topic, mails."""

    rows: dict[str, tuple[int, str]]
    events: dict[str, Counter[str]]
    mails: int

    def new_since(self, before: "World") -> dict[str, object]:
        """What is there now and was not; rows count as new when any of them changed."""
        found: dict[str, object] = {
            table: (before.rows.get(table), now) for table, now in self.rows.items() if before.rows.get(table) != now
        }
        for topic, ids in self.events.items():
            if new := set(ids) - set(before.events[topic]):
                found[topic] = sorted(new)[:5]
        if self.mails != before.mails:
            found["mails"] = self.mails - before.mails
        return found


async def look(client: Client) -> World:
    """The world, once it is at rest: all is read, and the signing log is countersigned to its end."""
    await all_read(client.stack)
    size = "SELECT (SELECT count(*) FROM posting.signing_log) = (SELECT coalesce(max(size), 0) FROM monitor.witness)"
    await eventually(lambda: client.value(size), "the signing log is countersigned", seconds=60, every=0.5)
    rows = {}
    tables = await client.database.fetch(
        "SELECT schemaname, tablename FROM pg_tables WHERE schemaname = ANY ($1)", list(SERVICES)
    )
    for schema, table in tables:
        if (schema, table) not in OF_TIME:
            digest = f"SELECT count(*), md5(string_agg(md5(t::text), '' ORDER BY md5(t::text))) FROM {schema}.{table} t"
            row = await client.database.fetchrow(digest)
            assert row is not None
            rows[f"{schema}.{table}"] = (row[0], row[1] or "")
    names = [name for topic in topics.TOPICS.values() for name in (topic.name, topic.dead_letter)]
    events: dict[str, Counter[str]] = {name: Counter() for name in names}
    for record in await history(client.stack, *names):
        events[record.topic][_identity(record)] += 1
    return World(rows, events, await asyncio.to_thread(_count, client.stack.layout.mail))


def _identity(record: Raw) -> str:
    """The event's id; a dead letter's is its place, because it keeps the headers of what it buries."""
    place = [bytes(value).decode() for name, value in record.headers if name.startswith("x-dead-letter-")]
    return ":".join(place[:3]) or header(record, "ce_id")


def _count(folder: Path) -> int:
    return len(list(folder.glob("*.eml")))


OF_ENDS = {topics.REVOCATION_REQUESTED, topics.SUSPENSION_REQUESTED, topics.LIFTING_REQUESTED}
"""Repeated in tests/integration/certificate_authority."""

OF_TOKENS = {topics.TOKEN_APPLICATION_SUBMITTED, topics.TOKEN_CERTIFICATE_REQUESTED, topics.TOKEN_SIGNED}


OF_PHONES = {
    topics.PIN_CHANGE_SUBMITTED,
    topics.PIN_UNLOCK_ORDERED,
    topics.PIN_ANSWERED,
    topics.OFFICER_TOLD,
    topics.NOT_ME,
}
"""Said by who holds the phone, or by administrators; their repeats are in tests/attacks, of what a phone is told in
tests/integration/gateway/test_inbox.py."""

OF_THE_LOG = (topics.LOG_CHECKPOINT, topics.LOG_COUNTERSIGNED, topics.LOG_TILE)


async def test_every_event_of_a_request_ten_times_changes_nothing(client: Client, officers: Officers) -> None:
    """I-3, I-13, I-16, I-20, I-21, I-23, I-28: one code an ask, one posting, one end; a refusal stays one."""
    officer, nobody = await client.enrol(algorithm="p-256"), client.new_officer()
    phoned = await client.enrol(algorithm="p-256")
    await client.desk.register(phoned, Device.new())
    await eventually(lambda: client.stack.mailbox(phoned.email), "the notice of the phone is out")
    untouched = await look(client)
    done = [await client.press(officer, papers(3)), await client.press(officers.maker, papers(60))]
    mistyped, refused = await client.press(officer, papers(1)), await client.press(nobody, papers(2))
    await done[0].otp()  # the gateway has heard of it too
    await client.gateway.resend(done[0].id, officer.user)
    await done[0].until(lambda: len(done[0].seen.dispatched) == 2, "another code")
    await asyncio.gather(*(request.sign() for request in done))
    await mistyped.failure(await mistyped.authorise(otp=wrong(await mistyped.otp())))
    await client.gateway.cancel(mistyped.id, officer.user, idempotency_key=uuid4().hex)
    await mistyped.end()
    await refused.end()
    before = await look(client)
    seen = before.new_since(untouched)
    assert seen["mails"] == 4, "the look can see"
    assert {topics.SIGNED.name, topics.COMPLETED.name, "posting.record", "hsm_signer.document"} <= set(seen)

    ours = {str(request.id) for request in (*done, mistyped, refused)}
    ours |= {paper.entry.id for request in done for paper in request.papers}
    ours |= {officer.user, str(officer.application), str(officer.credential_id)}
    of_ours = [r for r in await history(client.stack, *topics.TOPICS) if (r.key or b"").decode() in ours]
    wanted = [*of_ours, *await history(client.stack, topics.KEYS, topics.DEVICE_REGISTRATION_SUBMITTED, *OF_THE_LOG)]
    repeated = Counter(record.topic for record in wanted)
    not_of_these = {topics.APPLICATION_REFUSED, topics.WAITING, *OF_ENDS, *OF_TOKENS, *OF_PHONES}
    assert set(topics.TOPICS) - set(repeated) == {topic.name for topic in not_of_these}
    assert repeated[topics.SIGNED.name] == 63

    await publish(client, wanted * TIMES)

    after = await look(client)
    assert after.new_since(before) == {}
    for topic, count in repeated.items():
        assert after.events[topic].total() == before.events[topic].total() + TIMES * count, "a repeat was answered"


async def test_every_group_at_the_start_of_its_topics_again_changes_nothing(client: Client, officers: Officers) -> None:
    """The inbox outlives the topics: an offset that is lost costs time, and nothing else."""
    for request in (await client.press(officers.maker, papers(60)), await client.press(officers.checker, papers(2))):
        assert len((await request.sign()).posted) == len(request.papers)
    before = await look(client)

    await read_again_from_the_start(client.stack)

    assert (await look(client)).new_since(before) == {}
    assert len((await (await client.press(officers.maker, papers(2))).sign()).posted) == 2, "and the chain goes on"


async def publish(client: Client, records: list[Raw]) -> None:
    """The same bytes under the same headers."""
    producer = AIOKafkaProducer(**client.stack.kafka.options(), linger_ms=5, max_request_size=MAX_DEAD_LETTER_BYTES)
    await producer.start()
    try:
        sent = [
            await producer.send(record.topic, value=record.value, key=record.key, headers=list(record.headers))
            for record in records
        ]
        await asyncio.gather(*sent)
    finally:
        await producer.stop()
