"""Profile `ha`: one broker of three dies during a Pukal of 500, and the other two carry it to its end without it."""

import asyncio
import contextlib
import random

import pytest
from aiokafka.errors import NodeNotReadyError

from deploy.native.layout import BROKERS
from libs.bus.topics import administration, topic_configs
from libs.contracts.topics import TOPICS
from tests.containers.test_kills import SIGNED
from tests.faults.conftest import Pukal
from tests.support.containers import InContainers
from tests.support.waiting import eventually

pytestmark = [pytest.mark.containers, pytest.mark.timeout(600)]


@pytest.fixture(autouse=True)
def three(containers: InContainers) -> None:
    if containers.layout.brokers != BROKERS:
        pytest.skip("a stack of its own: GPKI_BROKERS=3, as `make containers` runs it")


@pytest.mark.parametrize("name", BROKERS)
async def test_500_are_posted_once_while_one_broker_of_three_is_away(
    containers: InContainers, pukal: Pukal, name: str
) -> None:
    await on_all_three(containers)
    pukal.begin()
    await pukal.reaches(SIGNED, random.Random(name).choice(range(50, 300)))
    with containers.away(name):
        async with asyncio.timeout(60):  # the better part of two minutes, where clients look for the one that is away
            await pukal.ends()
        assert not containers.pid(name)
    await containers.ready(name)
    await known_to_all(containers)
    await pukal.happened_once(mails=range(1, 3))


async def on_all_three(containers: InContainers) -> None:
    """Each topic lies on three brokers, two of which must have a record; wait until all three have every one."""
    names = [name for topic in TOPICS.values() for name in (topic.name, topic.dead_letter)]
    async with administration(containers.kafka) as admin:
        settings = await topic_configs(admin, names)
        assert {one["min.insync.replicas"] for one in settings.values()} == {"2"}

        async def all_in_sync() -> bool:
            described = await admin.describe_topics(names)
            partitions = [partition for topic in described for partition in topic["partitions"]]
            assert {len(partition["replicas"]) for partition in partitions} == {len(BROKERS)}
            return all(set(partition["isr"]) == set(partition["replicas"]) for partition in partitions)

        await eventually(all_in_sync, "every replica is in sync", seconds=60, every=0.5)


async def known_to_all(containers: InContainers) -> None:
    """Wait until the cluster counts the broker among its own again."""
    async with administration(containers.kafka) as admin:

        async def all_there() -> bool:
            with contextlib.suppress(NodeNotReadyError):  # it asks any node, also one that was not there a moment ago
                return len((await admin.describe_cluster())["brokers"]) == len(BROKERS)
            return False

        await eventually(all_there, "three brokers", seconds=60, every=0.5)
