"""Who has somebody's password for Kafka and a client of his own: single requests, and what the broker answers."""

from collections.abc import AsyncIterator, Collection, Iterable
from contextlib import asynccontextmanager
from typing import Any, Self

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import for_code
from aiokafka.protocol.commit import OffsetCommitRequest
from aiokafka.protocol.fetch import FetchRequest
from aiokafka.protocol.produce import ProduceRequest
from aiokafka.record.default_records import DefaultRecordBatchBuilder

from libs.bus.principals import Acl, add_acls, remove_acls
from libs.runtime.kafka_access import KafkaAccess

DONE = "NoError"
PASSED = "OffsetOutOfRangeError"
DENIED = "TopicAuthorizationFailedError"
GROUP_DENIED = "GroupAuthorizationFailedError"
CLUSTER_DENIED = "ClusterAuthorizationFailedError"

ANSWER_MS = 20_000
"""For one answer of a broker on a busy machine."""


class Attacker:
    """One principal. Enter it; every method returns the names of the broker's answers, and raises for none."""

    def __init__(self, access: KafkaAccess) -> None:
        self.admin = AIOKafkaAdminClient(**access.options(), request_timeout_ms=ANSWER_MS)

    async def __aenter__(self) -> Self:
        await self.admin.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.admin.close()

    async def write(self, *names: str) -> dict[str, str]:
        """Append a record that is no event to each of these topics."""
        topics = [(name, [(0, _batch())]) for name in names]
        answer = await self._ask(ProduceRequest(None, -1, ANSWER_MS, topics))
        return {name: _name(partition[1]) for name, (partition,) in (each[:2] for each in answer.topics)}

    async def read(self, *names: str) -> dict[str, str]:
        """Fetch from each of these topics; where the broker says that the beginning was deleted, it has let us in."""
        topics = [(name, [(0, 0, 1024)]) for name in names]
        answer = await self._ask(FetchRequest(0, 0, 1024, 0, topics))
        answers = {name: _name(partition[1]) for name, (partition,) in (each[:2] for each in answer.topics)}
        return {name: DONE if said == PASSED else said for name, said in answers.items()}

    async def move(self, group: str, topic: str) -> str:
        """Commit an offset for a group: what lies before it, the group never reads."""
        answer = await self._ask(OffsetCommitRequest(group, -1, "", -1, [(topic, [(0, 1, "")])]))
        ((_, ((_, code),)),) = answer.topics
        return _name(code)

    async def create(self, name: str) -> str:
        """Make a topic."""
        answer = await self.admin.create_topics([NewTopic(name, 1, 1)])
        return _name(answer.topic_errors[0][1])

    async def delete(self, name: str) -> str:
        """Delete a topic, with all that lies on it."""
        answer = await self.admin.delete_topics([name])
        return _name(answer.topic_error_codes[0][1])

    async def shorten(self, name: str) -> str:
        """Have a topic forget what is older than a minute."""
        setting = ConfigResource(ConfigResourceType.TOPIC, name, configs={"retention.ms": "60000"})
        (answer,) = await self.admin.alter_configs([setting])
        return _name(answer.resources[0][0])

    @asynccontextmanager
    async def given(self, *acls: Acl) -> AsyncIterator[None]:
        """As the administrator: switch a defence off while entered."""
        entries = [acl.entry() for acl in acls]
        await add_acls(self.admin, entries)
        try:
            yield
        finally:
            await remove_acls(self.admin, entries)

    async def _ask(self, request: Any) -> Any:
        return await self.admin._send_request(request)


def not_denied(answers: dict[str, str], denied: Collection[str] = (DENIED,)) -> dict[str, str]:
    """Those that were answered otherwise."""
    return {name: answer for name, answer in answers.items() if answer not in denied}


def names_of(topics: Iterable[Any]) -> set[str]:
    """Of these topics and of their dead letters."""
    return {name for topic in topics for name in (topic.name, topic.dead_letter)}


def _batch() -> bytes:
    batch = DefaultRecordBatchBuilder(
        magic=2, compression_type=0, is_transactional=False, producer_id=-1, producer_epoch=-1, base_sequence=0,
        batch_size=1024,
    )  # fmt: skip
    batch.append(0, timestamp=0, key=b"forged", value=b"forged", headers=[])
    return bytes(batch.build())


def _name(code: int) -> str:
    return str(for_code(code).__name__)
