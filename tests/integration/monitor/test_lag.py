"""How far a group is behind on a topic is what the broker has, and falls as it is read."""

from datetime import timedelta

import pytest

from libs.contracts import topics
from libs.runtime import metrics
from tests.integration.monitor.conftest import Watch, request, signed
from tests.support.faults import reset
from tests.support.journal import ends_of
from tests.support.waiting import eventually

pytestmark = pytest.mark.stack

GROUP = "a-reader.of-a-test"
OFTEN = {"lag_every": timedelta(milliseconds=100)}


def behind(group: str = GROUP) -> dict[str, float]:
    """What the metric says of a group, by topic."""
    (family,) = metrics.LAG.collect()
    return {one.labels["topic"]: one.value for one in family.samples if one.labels["service"] == group}


async def test_what_a_group_has_yet_to_read_is_told_by_topic_and_over_when_it_has_read_it(watch: Watch) -> None:
    at = await ends_of(watch.stack, topics.SIGNED, topics.POSTED)
    await reset(watch.stack, GROUP, at)
    async with watch.running(**OFTEN):
        await eventually(lambda: behind() == {topics.SIGNED.name: 0, topics.POSTED.name: 0}, "nothing is before it")
        await watch.send(topics.SIGNED, signed(request(7)))
        await eventually(lambda: behind() == {topics.SIGNED.name: 7, topics.POSTED.name: 0}, "seven of one topic")
        await eventually(lambda: behind("monitor")[topics.SIGNED.name] == 0, "the monitor itself has read them")
        await reset(watch.stack, GROUP, await ends_of(watch.stack, topics.SIGNED))
        await eventually(lambda: behind()[topics.SIGNED.name] == 0, "it has read them")
