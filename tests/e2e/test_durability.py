"""None of the speed is bought by weaker durability: the settings, as they are in force on the running stack.

That a stage reserves before it acts and records before it publishes is shown by crashes, elsewhere: "Durability" in
docs/performance.md names the tests.
"""

import ast
import struct
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.protocol.produce import ProduceRequest

from deploy.native.layout import CHECKOUT, SERVICES
from deploy.native.parts import service_environment
from libs.bus.principals import Acl, Operation, Resource, acls, add_acls
from libs.bus.publisher import Publisher
from libs.bus.service import service_bus
from libs.bus.signing import ProducerSettings
from libs.bus.topics import administration, create_topics, topic_configs
from libs.contracts import topics
from libs.contracts.cloudevents import encode
from libs.runtime.clock import utc_now
from libs.runtime.health import Health
from libs.runtime.settings import ServiceSettings, load_settings
from libs.storage.pool import Pool
from libs.storage.service import service_database
from tests.support.bus import REQUEST, Step, declared, delete_topics
from tests.support.chain import Client, Officers, papers
from tests.support.journal import ends_of
from tests.support.stack import Stack
from tests.support.waiting import eventually

pytestmark = pytest.mark.stack

ALL = -1
"""acks=all on the wire."""

BROKER = 1
"""Node id of the only broker."""

PRODUCED = (
    *(topics.MEDIUM_RESOLVED, topics.OTP_DISPATCHED, topics.AUTHORISATION_SUBMITTED),
    *(topics.SIGNED, topics.VERIFIED, topics.POSTED, topics.COMPLETED, topics.LOG_COUNTERSIGNED),
)
"""One topic at least of each service on a document's way, and of monitor, which countersigns beside it."""

BATCH = struct.Struct(">qiibIhiqqqhi")
"""The head of a record batch (KIP-98): offset, length, epoch, magic, CRC, attributes, last offset, first time, last
time, producer id, producer epoch, first sequence."""


def batches(segment: Path) -> Iterator[tuple[int, int]]:
    """Offset and producer id of each batch of a log segment; the id is -1 if its producer is not idempotent."""
    log, at = segment.read_bytes(), 0
    while at + BATCH.size <= len(log):
        offset, length, *rest = BATCH.unpack_from(log, at)
        yield offset, rest[7]
        at += 12 + length


async def test_every_batch_of_the_chain_has_an_idempotent_producer(client: Client, officers: Officers) -> None:
    """As the broker wrote it down: what a producer tries again is not written twice."""
    before = await ends_of(client.stack, *PRODUCED)
    await (await client.press(officers.maker, papers(3))).sign()

    async def countersigned() -> bool:
        ends = await ends_of(client.stack, topics.LOG_COUNTERSIGNED)
        return any(end > before[partition] for partition, end in ends.items())

    await eventually(countersigned, "monitor has countersigned what was posted", every=0.5)
    written: dict[str, list[int]] = {topic.name: [] for topic in PRODUCED}
    for (name, number), start in before.items():
        for segment in (client.stack.layout.broker_data("kafka") / f"{name}-{number}").glob("*.log"):
            written[name] += [producer for offset, producer in batches(segment) if offset >= start]
    assert all(written.values()), f"nothing on {[name for name, ids in written.items() if not ids]}"
    assert {name: ids for name, ids in written.items() if min(ids) < 0} == {}


@asynccontextmanager
async def own(service: str) -> AsyncIterator[tuple[Pool, Publisher]]:
    """Database and publisher as this service opens them, of its own settings; monitor's witness has no bus."""
    if service != "monitor":
        async with service_bus(load_settings(ProducerSettings), Health(service)) as (pool, bus):
            yield pool, bus.publisher
        return
    settings = load_settings(ServiceSettings)
    async with service_database(settings, []) as (pool, _):
        yield pool, Publisher(settings.kafka, client_id="monitor.witness")


@pytest.mark.parametrize("service", SERVICES)
async def test_a_service_waits_for_all_replicas_and_commits_to_the_disk(
    full_stack: Stack, service: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its produce request, and its database session."""
    for name, value in service_environment(full_stack.layout, service).items():
        monkeypatch.setenv(name, value)
    asked: list[Any] = []
    async with own(service) as (pool, publisher):
        producer = await publisher._connected()
        send = producer.client.send

        async def noted(node: int, request: Any, **options: Any) -> Any:
            asked.append(request)
            return await send(node, request, **options)

        monkeypatch.setattr(producer.client, "send", noted)
        topic = declared(full_stack.unique_topic())
        await create_topics(full_stack.kafka, topics=[topic])
        record = encode(topic, Step(request_id=REQUEST, document="d"), source="t", time=utc_now())
        async with administration(full_stack.kafka) as admin:
            permission = Acl(service, Operation.WRITE, Resource.TOPIC, topic.name).entry()
            await add_acls(admin, [permission])

            async def known() -> bool:
                return permission in await acls(admin)

            await eventually(known, "the broker knows the permission")
        await publisher.publish([record])
        await publisher.stop()
        in_force = {
            name: await pool.fetchval(f"SHOW {name}")
            for name in ("synchronous_commit", "fsync", "full_page_writes", "lock_timeout", "wal_level")
        }
        role = await pool.fetchval("SELECT current_user")
        checksums = await pool.fetchval("SHOW data_checksums")
    await delete_topics(full_stack, [topic.name, topic.dead_letter])
    assert {request.required_acks for request in asked if isinstance(request, ProduceRequest)} == {ALL}
    assert role == service
    assert in_force == {
        "synchronous_commit": "on", "fsync": "on", "full_page_writes": "on", "lock_timeout": "5s",
        "wal_level": "replica",
    }  # fmt: skip
    assert checksums == "on"


async def test_no_topic_takes_an_unclean_leader_and_each_asks_for_a_majority(full_stack: Stack) -> None:
    """One broker here; of three, two must have a record. A partition without its leader waits, it forgets nothing."""
    names = [name for topic in topics.TOPICS.values() for name in (topic.name, topic.dead_letter)]
    async with administration(full_stack.kafka) as admin:
        found = await topic_configs(admin, [*names, "__consumer_offsets"])
        replicas = {
            each["topic"]: {len(partition["replicas"]) for partition in each["partitions"]}
            for each in await admin.describe_topics(names)
        }
        (answer,) = await admin.describe_configs([ConfigResource(ConfigResourceType.BROKER, str(BROKER))])
    of_broker = {entry[0]: entry[1] for entry in answer.resources[0][4]}
    assert {one["unclean.leader.election.enable"] for one in found.values()} == {"false"}
    assert {
        name: found[name]["min.insync.replicas"]
        for name in names
        if found[name]["min.insync.replicas"] != str(min(2, *replicas[name]))
    } == {}
    assert of_broker["auto.create.topics.enable"] == "false"
    assert {one["message.timestamp.type"] for name, one in found.items() if name in names} == {"LogAppendTime"}


def test_no_producer_of_the_product_is_made_without_idempotence() -> None:
    """With it aiokafka takes no other acks than all."""
    without = [
        f"{file.relative_to(CHECKOUT)}:{call.lineno}"
        for folder in ("libs", "services", "deploy")
        for file in (CHECKOUT / folder).rglob("*.py")
        for call in ast.walk(ast.parse(file.read_text()))
        if isinstance(call, ast.Call)
        and isinstance(call.func, ast.Name)
        and call.func.id == "AIOKafkaProducer"
        and not any(
            each.arg == "enable_idempotence" and isinstance(each.value, ast.Constant) and each.value.value is True
            for each in call.keywords
        )
    ]
    assert without == []
