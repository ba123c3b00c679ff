"""Records that nobody can read."""

import random

from aiokafka import AIOKafkaProducer

from libs.contracts import topics
from tests.faults.campaign.fault import moment
from tests.support.chain import Client


async def poison_everywhere(client: Client, seeded: random.Random) -> None:
    """On every topic of the chain a record that nobody can read, and one whose header is not UTF-8."""
    await moment(seeded)
    producer = AIOKafkaProducer(**client.stack.kafka.options())
    await producer.start()
    try:
        for topic in topics.TOPICS.values():
            if topic.name.startswith("gpki.signing."):
                await producer.send_and_wait(topic.name, b"\xff\xfe no event", key=b"poison")
                await producer.send_and_wait(topic.name, b"{}", key=b"poison", headers=[("ce_id", b"\xff\xfe\xfd")])
    finally:
        await producer.stop()
