"""The init step for topics: create what is missing, check what is there, believe no error code unread."""

import asyncio
import contextlib
from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import NodeNotReadyError, TopicAlreadyExistsError, for_code

from libs.contracts.topics import CHAIN_RETENTION, MAX_DEAD_LETTER_BYTES, TOPICS, Topic

_EVERYWHERE = {
    "message.timestamp.type": "LogAppendTime",
    # The broker unpacks what a producer compressed: a codec that our clients lack would stop a partition for good, and
    # `max.message.bytes` holds for what is unpacked, so that a small batch is never a large one.
    "compression.type": "uncompressed",
}


DESCRIBE_TRIES = 50
CONTROLLER_TRIES = 150
"""A tenth of a second apart."""


class TopicError(Exception):
    """A topic could not be created, or stands on the broker with other settings than declared."""


async def create_topics(bootstrap: str, *, replication: int = 1, topics: Iterable[Topic] | None = None) -> list[str]:
    """Create every declared topic and its dead letter; returns the names that were new.

    aiokafka's admin does not raise per-topic errors, so each code is read here. Safe to run again and from many
    hosts at once. Raises TopicError, naming topic and cause.
    """
    declared = tuple(TOPICS.values() if topics is None else topics)
    wanted = {
        **{topic.name: (topic.partitions, topic_settings(topic)) for topic in declared},
        **{topic.dead_letter: (1, _dead_letter_settings(topic)) for topic in declared},
    }
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        await controller_known(admin)
        existing = set(await admin.list_topics())
        missing = [
            NewTopic(name, partitions, replication, topic_configs=settings)
            for name, (partitions, settings) in wanted.items()
            if name not in existing
        ]
        created: list[str] = []
        if missing:
            response = await admin.create_topics(missing)
            for name, code, *rest in response.topic_errors:
                error = for_code(code)
                if code and error is not TopicAlreadyExistsError:
                    raise TopicError(f"{name}: {error.__name__} {rest[0] if rest and rest[0] else ''}".strip())
                if not code:
                    created.append(name)
        await _check(admin, {name: wanted[name] for name in wanted.keys() - set(created)})
    finally:
        await admin.close()
    return created


async def controller_known(admin: AIOKafkaAdminClient) -> None:
    """Return once the cluster names its controller; TopicError when it does not in time.

    A broker that was just frozen or restarted serves metadata without one, or without any broker, until it has
    registered again, and aiokafka's create and delete then fail with an AttributeError.
    """
    for _ in range(CONTROLLER_TRIES):
        with contextlib.suppress(NodeNotReadyError):
            if (await admin.describe_cluster())["controller_id"] >= 0:
                return
        await asyncio.sleep(0.1)
    raise TopicError("the cluster has no controller: see that its brokers are up, and try again")


async def _check(admin: AIOKafkaAdminClient, wanted: dict[str, tuple[int, dict[str, str]]]) -> None:
    if not wanted:
        return
    for description in await _described(admin, list(wanted)):
        name, partitions = description["topic"], len(description["partitions"])
        if partitions != wanted[name][0]:
            raise TopicError(f"{name} has {partitions} partitions, declared are {wanted[name][0]}: keys would move")
    resources = [ConfigResource(ConfigResourceType.TOPIC, name) for name in wanted]
    for response in await admin.describe_configs(resources):
        for code, message, _, name, entries, *_ in response.resources:
            if code:
                raise TopicError(f"{name}: {message}")
            actual = {entry[0]: entry[1] for entry in entries}
            for setting, value in wanted[name][1].items():
                if actual.get(setting) != value:
                    raise TopicError(f"{name}: {setting} is {actual.get(setting)}, declared is {value}")


async def _described(admin: AIOKafkaAdminClient, names: list[str]) -> list[dict[str, Any]]:
    """Describe topics that exist; a broker may know one that another host has just made a moment later."""
    for _ in range(DESCRIBE_TRIES):
        described: list[dict[str, Any]] = await admin.describe_topics(names)
        unknown = [for_code(each["error_code"]).__name__ for each in described if each["error_code"]]
        if not unknown:
            return described
        await asyncio.sleep(0.1)
    raise TopicError(f"topics cannot be described: {', '.join(sorted(set(unknown)))}")


def topic_settings(topic: Topic) -> dict[str, str]:
    """The settings that a declared topic has on the broker."""
    common = {"max.message.bytes": str(topic.max_bytes), **_EVERYWHERE}
    if topic.retention is None:
        return {**common, "cleanup.policy": "compact"}
    return {**common, "cleanup.policy": "delete", "retention.ms": _milliseconds(topic.retention)}


def _dead_letter_settings(topic: Topic) -> dict[str, str]:
    # What carries a sealed PIN carries it in its dead letter too, and is kept no longer there.
    return {
        "max.message.bytes": str(MAX_DEAD_LETTER_BYTES),
        **_EVERYWHERE,
        "cleanup.policy": "delete",
        "retention.ms": _milliseconds(topic.retention or CHAIN_RETENTION),
    }


def _milliseconds(duration: timedelta) -> str:
    return str(int(duration.total_seconds() * 1000))
