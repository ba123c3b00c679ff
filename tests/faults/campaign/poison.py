"""Records that nobody can read."""

import random
from collections import Counter
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
    topics.OTP_DISPATCHED,
    topics.AUTHORISATION_SUBMITTED,
    topics.AUTHORISATION_SUBMITTED_BULK,
    topics.AUTHORISATION_FAILED,
    topics.SIGNED,
    topics.VERIFIED,
    topics.REJECTED,
    topics.COMPLETED,
    topics.USER,
    topics.CERTIFICATE,
    topics.APPLICATION_SUBMITTED,
    topics.DEVICE_REGISTRATION_SUBMITTED,
    topics.KEY_REQUESTED,
    topics.CERTIFICATE_REQUESTED,
    topics.REVOCATION_REQUESTED,
    topics.SUSPENSION_REQUESTED,
    topics.LIFTING_REQUESTED,
)
"""Of these somebody makes dead letters, which the client follows: one of each record at least."""


async def poison_everywhere(client: Client, seeded: random.Random) -> Judge:
    """On every topic a record that nobody can read, one whose header is not UTF-8 and, where producers sign, one that
    its producer signed. Then a service is started again, which reads the topic of keys from its beginning.
    """
    await moment(seeded)
    before = len(client.chain.observation.dead)
    told: Counter[str] = Counter()
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
        letters = Counter(client.chain.observation.dead[before:])
        return [
            f"of {told[topic.dead_letter]} that were on {topic.name}, {letters[topic.dead_letter]} were buried"
            for topic in READERS
            if letters[topic.dead_letter] < told[topic.dead_letter]
        ]

    return judge
