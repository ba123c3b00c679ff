"""Records that nobody can read."""

import random
from collections.abc import Sequence
from typing import Final

from deploy.native import lifecycle
from libs.contracts import topics
from libs.contracts.cloudevents import Record
from services.igfmas.observation import Observation
from tests.faults.campaign.fault import Judge, moment
from tests.support.chain import Client
from tests.support.journal import ends_of
from tests.support.producers import append, signed_as_service

NOT_BURIED: Final = (
    topics.KEYS,
    topics.POSTED,
    topics.APPLICATION_REFUSED,
    topics.LOG_CHECKPOINT,
    topics.LOG_COUNTERSIGNED,
    topics.LOG_TILE,
)
"""Whose readers pass over what they cannot read; of every other topic somebody buries each record, once at least."""


async def poison_everywhere(client: Client, seeded: random.Random) -> Judge:
    """On every topic a record that nobody can read, one whose header is not UTF-8 and, where producers sign, one that
    its producer signed. Then a service is started again, which reads the topic of keys from its beginning.
    """
    await moment(seeded)
    buried = [topic for topic in topics.TOPICS.values() if topic not in NOT_BURIED]
    letters = [topic.dead_letter for topic in buried]
    before = await ends_of(client.stack, *letters)
    told: dict[str, int] = {}
    for topic in topics.TOPICS.values():
        key = f"poison {seeded.random()}".encode()
        unreadable = Record(topic.name, key, b"\xff\xfe no event", ())
        records = [unreadable, Record(topic.name, key, b"{}", (("ce_id", b"\xff\xfe\xfd"),))]
        if topic.producers:
            records.append(signed_as_service(client.stack, unreadable, topic.producers[0]))
        await append(client.stack, *records)
        told[topic.dead_letter] = len(records)
    await lifecycle.restart(client.stack.layout, "posting")

    async def judge(_: Observation) -> Sequence[str]:
        ends = await ends_of(client.stack, *letters)
        came = {partition.topic: end - before[partition] for partition, end in ends.items()}
        return [
            f"of {told[topic.dead_letter]} that were on {topic.name}, {came[topic.dead_letter]} were buried"
            for topic in buried
            if came[topic.dead_letter] < told[topic.dead_letter]
        ]

    return judge
