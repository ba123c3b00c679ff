"""Profile `ha`: one broker of three dies during a Pukal of 500, and the other two carry it to its end without it."""

import asyncio
import contextlib
import random

import pytest
from aiokafka.errors import NodeNotReadyError

from deploy.native.layout import BROKERS
from libs.bus.topics import administration
from tests.faults.conftest import Pukal
from tests.support.containers import InContainers
from tests.support.documents import SIGNED
from tests.support.replicas import in_sync_on_all_three
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
    await in_sync_on_all_three(containers.kafka)
    pukal.begin()
    await pukal.reaches(SIGNED, random.Random(name).choice(range(50, 300)))
    with containers.away(name):
        async with asyncio.timeout(60):  # the better part of two minutes, where clients look for the one that is away
            await pukal.ends()
        assert not containers.pid(name)
    await containers.ready(name)
    await known_to_all(containers)
    await pukal.happened_once(mails=range(1, 3))


async def known_to_all(containers: InContainers) -> None:
    """Wait until the cluster counts the broker among its own again."""
    async with administration(containers.kafka) as admin:

        async def all_there() -> bool:
            with contextlib.suppress(NodeNotReadyError):  # it asks any node, also one that was not there a moment ago
                return len((await admin.describe_cluster())["brokers"]) == len(BROKERS)
            return False

        await eventually(all_there, "three brokers", seconds=60, every=0.5)
