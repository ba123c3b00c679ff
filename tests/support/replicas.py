"""What three brokers must have of every topic before one of them is struck."""

from deploy.native.layout import BROKERS
from libs.bus.topics import administration, topic_configs
from libs.contracts.topics import TOPICS
from libs.runtime.kafka_access import KafkaAccess
from tests.support.waiting import eventually


async def in_sync_on_all_three(kafka: KafkaAccess) -> None:
    """Hold that each topic lies on three brokers, two of which must have a record; wait until all have every one."""
    names = [name for topic in TOPICS.values() for name in (topic.name, topic.dead_letter)]
    async with administration(kafka) as admin:
        settings = await topic_configs(admin, names)
        assert {one["min.insync.replicas"] for one in settings.values()} == {"2"}

        async def all_in_sync() -> bool:
            described = await admin.describe_topics(names)
            partitions = [partition for topic in described for partition in topic["partitions"]]
            assert {len(partition["replicas"]) for partition in partitions} == {len(BROKERS)}
            return all(set(partition["isr"]) == set(partition["replicas"]) for partition in partitions)

        await eventually(all_in_sync, "every replica is in sync", seconds=60, every=0.5)
