"""Events of producers on a real broker: what is forged is put aside and touches nothing, what we emit is signed."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest
import pytest_asyncio
from cryptography.hazmat.primitives.serialization import Encoding
from pydantic_core import from_json

from libs.bus.bus import Bus
from libs.bus.dead_letter import IN_A_ROW
from libs.bus.delivery import Delivery
from libs.bus.outcomes import Done, Park
from libs.bus.producers import UNKNOWN_KEY, Producers
from libs.bus.signing import PRODUCER_KEY, EventSigner
from libs.contracts.cloudevents import Record
from libs.contracts.event_signature import HEADER
from libs.contracts.state import Key
from libs.contracts.topics import Topic
from libs.runtime.clock import utc_now
from libs.runtime.health import Health
from tests.integration.bus.handlers import deciding, pass_on
from tests.integration.bus.test_waiting import LATER
from tests.support.bus import Room, Step, documents, waits_for
from tests.support.journal import header
from tests.support.pki import Pki
from tests.support.producers import Hands
from tests.support.waiting import eventually

WRITER, OTHER = "medium_lookup", "gateway"


@dataclass
class Signed:
    """A topic that WRITER alone may write, the keys' topic, and buses that know both."""

    room: Room
    hands: Hands
    keys: Topic
    source: Topic
    target: Topic

    def bus(self, *, health: Health | None = None) -> Bus:
        root = self.hands.pki.service_root.certificate.public_bytes(Encoding.DER)
        producers = Producers(self.room.stack.kafka, root, self.keys)
        self.room.resources.push_async_callback(producers.aclose)
        signer = EventSigner(self.hands.secret(self.room.schema).get_secret_value(), known=producers.knows)

        async def ask() -> None:
            await producers.look()

        return self.room.bus(
            producers=producers, sign=signer, probes={PRODUCER_KEY: ask}, health=health or Health(self.room.schema)
        )

    def event(self, by: str = WRITER, event: Step | None = None) -> Record:
        return self.hands.event(self.source, event or self.room.event(), by=by)

    async def publish_keys(self, *of: str) -> None:
        await self.room.send(self.keys, self.hands.keys(self.keys, of=of))


@pytest.fixture(scope="module")
def pki() -> Pki:
    return Pki(now=utc_now())


@pytest_asyncio.fixture
async def signed(room: Room, pki: Pki) -> Signed:
    """WRITER's and OTHER's keys are published; the service's own is not."""
    source = await room.topic(producers=(WRITER,))
    made = Signed(
        room,
        Hands(pki),
        await room.topic(event=Key, key="key", partitions=1),
        source,
        await room.topic(producers=(room.schema,)),
    )
    await made.publish_keys(WRITER, OTHER)
    return made


def bare(record: Record) -> Record:
    return replace(record, headers=tuple(each for each in record.headers if each[0] != HEADER))


def reason(record: object) -> str:
    return header(record, "x-dead-letter-reason")


FORGERIES: dict[str, tuple[Callable[[Signed], Record], str]] = {
    "unsigned": (lambda signed: bare(signed.event()), "producer signature: none"),
    "by another service": (lambda signed: signed.event(OTHER), "producer signature: not a producer of this topic"),
    "by nobody": (lambda signed: signed.event("nobody"), UNKNOWN_KEY),
    "altered": (lambda signed: replace(signed.event(), value=b"{}"), "producer signature: it does not hold"),
    "from another topic": (
        lambda signed: replace(
            signed.hands.event(signed.target, signed.room.event(), by=WRITER), topic=signed.source.name
        ),
        "producer signature: it does not hold",
    ),
}


@pytest.mark.parametrize("forgery", FORGERIES)
async def test_a_forged_record_is_a_dead_letter_and_nobody_acts_on_it(signed: Signed, forgery: str) -> None:
    """I-38: what is behind it is handled, and the true event of the same content is new."""
    make, why = FORGERIES[forgery]
    await signed.publish_keys(signed.room.schema)
    acts: list[str] = []
    forged, genuine = make(signed), signed.event()
    await signed.room.send(signed.source, [forged, genuine], partition=0)
    tap = await signed.room.tap(signed.source, signed.target)
    bus = signed.bus()
    bus.consume({signed.source: pass_on(signed.target, acts)})
    async with bus:
        await signed.room.all_committed(signed.source, 2)
    await tap.read()
    assert acts == documents(tap.of(signed.target)) == [(genuine.key or b"").decode()]
    (letter,) = tap.of(signed.source.dead_letter)
    assert reason(letter) == why
    assert await signed.room.count("SELECT count(*) FROM inbox") == 1


async def test_forged_records_stop_no_consumer(signed: Signed) -> None:
    """I-5, I-38: whoever can write the topic could stop the chain with twenty records otherwise."""
    await signed.publish_keys(signed.room.schema)
    health = Health(signed.room.schema)
    forged = [bare(signed.event()) for _ in range(3 * IN_A_ROW)]
    await signed.room.send(signed.source, [*forged, signed.event()], partition=0)
    bus, tap = signed.bus(health=health), await signed.room.tap(signed.source, signed.target)
    bus.consume({signed.source: pass_on(signed.target)})
    async with bus:
        await signed.room.all_committed(signed.source, len(forged) + 1)
        await eventually(lambda: health.ready, "ready")
    await tap.read()
    assert len(tap.of(signed.source.dead_letter)) == len(forged)
    assert len(tap.of(signed.target)) == 1


async def test_a_key_that_is_published_while_we_run_is_known_with_its_first_event(signed: Signed) -> None:
    """No event of a producer that was certified a moment ago is a dead letter."""
    await signed.publish_keys(signed.room.schema)
    bus, tap = signed.bus(), await signed.room.tap(signed.source, signed.target)
    bus.consume({signed.source: pass_on(signed.target)})
    async with bus:
        await signed.room.send(signed.source, [signed.event()])
        await tap.until(lambda: len(tap.of(signed.target)) == 1, "the first")
        del signed.hands.identities[WRITER]
        await signed.publish_keys(WRITER)
        await signed.room.send(signed.source, [signed.event()])
        await tap.until(lambda: len(tap.of(signed.target)) == 2, "that of the new key")
    assert tap.of(signed.source.dead_letter) == []


async def test_nothing_is_emitted_before_our_own_key_is_published_and_nothing_is_lost(signed: Signed) -> None:
    """I-6, I-38."""
    health = Health(signed.room.schema)
    bus, tap = signed.bus(health=health), await signed.room.tap(signed.source, signed.target)
    bus.consume({signed.source: pass_on(signed.target)})
    await signed.room.send(signed.source, [signed.event()])
    async with bus:
        await eventually(lambda: waits_for(health, PRODUCER_KEY), "waits for its key")
        assert await signed.room.empty("outcome")
        await signed.publish_keys(signed.room.schema)
        await tap.until(lambda: len(tap.of(signed.target)) == 1, "emitted")
    await tap.read()
    assert len(tap.of(signed.target)) == 1


async def test_the_signature_is_part_of_what_is_recorded_so_that_a_replay_has_the_same_bytes(signed: Signed) -> None:
    """I-2, I-38: published twice, signed once."""
    await signed.publish_keys(signed.room.schema)
    await signed.room.send(signed.source, [record := signed.event()], partition=0)
    tap = await signed.room.tap(signed.source, signed.target)
    for _ in range(2):
        bus = signed.bus()
        bus.consume({signed.source: pass_on(signed.target)})
        async with bus:
            await tap.until(lambda: len(tap.of(signed.target)) >= 1, "published")
            await eventually(lambda: signed.room.empty("unpublished"), "marked")
        # As after a crash between the publish and its mark: the record comes again, what was recorded is published.
        await signed.room.pool.execute(
            "INSERT INTO unpublished SELECT event_id, cause FROM outcome ON CONFLICT DO NOTHING"
        )
        await signed.room.send(signed.source, [record], partition=0)
    bus = signed.bus()
    bus.consume({signed.source: pass_on(signed.target)})
    async with bus:
        await eventually(lambda: signed.room.empty("unpublished"), "marked")
    await tap.read()
    published = {tuple(each.headers) for each in tap.of(signed.target)}
    assert len(tap.of(signed.target)) > 1
    assert len(published) == 1
    recorded = from_json(await signed.room.pool.fetchval("SELECT headers FROM recorded"))
    assert {tuple((name, value.encode("latin-1")) for name, value in recorded)} == published


async def test_a_twins_parked_event_of_a_key_that_is_new_is_no_forgery(signed: Signed) -> None:
    """I-38: who claims what waits knows no more of the producers than at the last look."""
    await signed.publish_keys(signed.room.schema)
    seen: list[Delivery[Step]] = []
    ours, twins, tap = signed.bus(), signed.bus(), await signed.room.tap(signed.source)
    ours.timer(signed.source, deciding(seen, Done()))  # what waits, and nothing from the broker
    twins.consume({signed.source: deciding([], Park(LATER, "a mailbox is full"))})
    async with ours:
        del signed.hands.identities[WRITER]
        await signed.publish_keys(WRITER)
        await signed.room.send(signed.source, [signed.event()])
        async with twins:
            await eventually(lambda: signed.room.count("SELECT count(*) FROM due"), "parked")
        await signed.room.pool.execute("UPDATE due SET at = now()")
        await eventually(lambda: signed.room.empty("due"), "handled")
    await tap.read()
    assert tap.of(signed.source.dead_letter) == []
    assert len(seen) == 1


async def test_what_waits_in_a_table_is_no_way_in(signed: Signed) -> None:
    """I-38: who can write the service's table puts in no event, and alters none."""
    await signed.publish_keys(signed.room.schema)
    seen: list[Delivery[Step]] = []
    bus, tap = signed.bus(), await signed.room.tap(signed.source)
    bus.consume({signed.source: deciding(seen, Park(LATER, "a mailbox is full"), Done())})
    async with bus:
        await signed.room.send(signed.source, [signed.event()])
        await eventually(lambda: signed.room.count("SELECT count(*) FROM due"), "parked")
        await signed.room.pool.execute("UPDATE due SET value = value || ' '::bytea, at = now()")
        await tap.until(lambda: len(tap.of(signed.source.dead_letter)) == 1, "put aside")
    assert reason(tap.of(signed.source.dead_letter)[0]) == "producer signature: it does not hold"
    assert len(seen) == 1
