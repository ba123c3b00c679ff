"""What the services subscribe to on the broker is what services/README.md says that they consume."""

from collections import defaultdict

import pytest

from deploy.native.chain import event_of
from deploy.native.layout import SERVICES
from libs.bus.topics import administration
from tests.support.faults import all_read, groups
from tests.support.stack import Stack
from tests.unit.house.test_chain_table import TABLE

pytestmark = pytest.mark.stack

WITHOUT_A_GROUP = {"checkpoint", "tile", "countersigned"}
"""The witness keeps its place in its own table; tiles it reads on a dispute, its own word when it begins anew."""


async def test_every_service_consumes_what_its_row_says(full_stack: Stack) -> None:
    await all_read(full_stack)
    async with administration(full_stack.kafka) as admin:
        found = await groups(admin)
    subscribed: defaultdict[str, set[str]] = defaultdict(set)
    for group in found.values():
        subscribed[group.service] |= {event_of(topic) for subscription in group.subscriptions for topic in subscription}
    subscribed["monitor"] |= WITHOUT_A_GROUP
    assert subscribed == {service: TABLE[service][0] for service in SERVICES}


async def test_every_partition_of_a_subscription_has_its_reader(full_stack: Stack) -> None:
    await all_read(full_stack)
    async with administration(full_stack.kafka) as admin:
        for group in (await groups(admin)).values():
            topics = {topic for subscription in group.subscriptions for topic in subscription}
            assert {partition.topic for partition in group.partitions} == topics, group.name
            assert sum(map(len, group.assigned)) == len(group.partitions), f"{group.name}: a partition has two readers"
