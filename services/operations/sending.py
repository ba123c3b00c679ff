"""The one way in which the command line writes to a topic."""

from aiokafka import AIOKafkaProducer

from libs.bus import defences
from libs.contracts.cloudevents import Record
from libs.contracts.topics import MAX_DEAD_LETTER_BYTES
from libs.runtime.kafka_access import KafkaAccess
from services.operations.reading import TIMEOUT_MS


async def send(kafka: KafkaAccess, *sent: Record) -> None:
    """One after another, each when the broker has the one before. Raises KafkaError."""
    defences.install()
    producer = AIOKafkaProducer(
        **kafka.options(),
        acks="all",
        enable_idempotence=True,
        max_request_size=MAX_DEAD_LETTER_BYTES,
        request_timeout_ms=TIMEOUT_MS,
    )
    try:
        await producer.start()
        for record in sent:
            await producer.send_and_wait(record.topic, value=record.value, key=record.key, headers=list(record.headers))
    finally:
        await producer.stop()
