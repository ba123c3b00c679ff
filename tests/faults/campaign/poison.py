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
from tests.support.producers import append, signed_as_service

READERS: Final = (
    topics.REQUESTED,
    topics.MEDIUM_RESOLVED,
    topics.SIGNED,
    topics.VERIFIED,
    topics.COMPLETED,
    topics.USER,
)
"""Of these somebody makes dead letters."""


async def poison_everywhere(client: Client, seeded: random.Random) -> Judge:
    """On every topic a record that nobody can read, one whose header is not UTF-8 and, where producers sign, one that
    its producer signed. Then a service is started again, which reads the topic of keys from its beginning.
    """
    await moment(seeded)
    before = len(client.chain.observation.dead)
    for topic in topics.TOPICS.values():
        key = f"poison {seeded.random()}".encode()
        unreadable = Record(topic.name, key, b"\xff\xfe no event", ())
        records = [unreadable, Record(topic.name, key, b"{}", (("ce_id", b"\xff\xfe\xfd"),))]
        if topic.producers:
            records.append(signed_as_service(client.stack, unreadable, topic.producers[0]))
        await append(client.stack, *records)
    await lifecycle.restart(client.stack.layout, "posting")

    async def judge(_: Observation) -> Sequence[str]:
        letters = client.chain.observation.dead[before:]
        return [f"nobody buried what was on {topic.name}" for topic in READERS if topic.dead_letter not in letters]

    return judge
