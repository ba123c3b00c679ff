"""Records that nobody can read."""

import random
from collections import Counter
from collections.abc import Sequence
from typing import Final

from deploy.native import lifecycle
from deploy.native.chain import BY_EVENT, chain_table
from libs.contracts import topics
from libs.contracts.cloudevents import Record
from services.igfmas.observation import Observation
from tests.faults.campaign.fault import Judge, moment
from tests.support.chain import Client
from tests.support.journal import ends_of
from tests.support.producers import append, signed_as_service

BURYING: Final = Counter(
    BY_EVENT[event].dead_letter
    for service, row in chain_table().items()
    if service != "monitor"
    for event in row.consumes
)
"""How many services read the topic of each dead letter, and bury there what they cannot read. Monitor does not."""


async def poison_everywhere(client: Client, seeded: random.Random) -> Judge:
    """On every topic a record that nobody can read, one whose header is not UTF-8 and, where producers sign, one that
    its producer signed. Then a service is started again, which reads the topic of keys from its beginning.
    """
    await moment(seeded)
    before = await ends_of(client.stack, *BURYING)
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
        came = {letter.topic: end - before[letter] for letter, end in (await ends_of(client.stack, *BURYING)).items()}
        return [
            f"{letter}: {came[letter]} letters, of {told[letter]} records that {services} services read"
            for letter, services in BURYING.items()
            if came[letter] < told[letter] * services
        ]

    return judge
