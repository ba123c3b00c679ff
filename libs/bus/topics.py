"""The init step for topics: create what is missing, check what is there, believe no error code unread."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any, NamedTuple

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import NodeNotReadyError, TopicAlreadyExistsError, for_code

from libs.bus import defences
from libs.contracts.topics import CHAIN_RETENTION, MAX_DEAD_LETTER_BYTES, TOPICS, Topic
from libs.runtime.kafka_access import KafkaAccess

_EVERYWHERE = {
    "message.timestamp.type": "LogAppendTime",
    # The broker unpacks what a producer compressed: a codec that our clients lack would stop a partition for good, and
    # `max.message.bytes` holds for what is unpacked, so that a small batch is never a large one.
    "compression.type": "uncompressed",
}


DESCRIBE_TRIES = 50
CONTROLLER_TRIES = 150
"""A tenth of a second apart."""

TIMEOUT_MS = 40_000
"""Milliseconds that one question to the broker may take."""


class Shape(NamedTuple):
    """Partitions and settings of one topic, and on how many brokers each partition lies."""

    partitions: int
    settings: Mapping[str, str]
    replicas: int = 1


class TopicError(Exception):
    """A topic could not be created, or stands on the broker with other settings than declared."""


@asynccontextmanager
async def administration(kafka: KafkaAccess, *, timeout_ms: int = TIMEOUT_MS) -> AsyncIterator[AIOKafkaAdminClient]:
    """An admin client, connected. Raises KafkaError when the broker cannot be asked."""
    defences.install()
    admin = AIOKafkaAdminClient(**kafka.options(), request_timeout_ms=timeout_ms)
    try:
        await admin.start()
        yield admin
    finally:
        await admin.close()


async def create_topics(
    kafka: KafkaAccess, *, replication: int = 1, topics: Iterable[Topic] | None = None
) -> list[str]:
    """Create every declared topic and its dead letter; returns the names that were new.

    aiokafka's admin does not raise per-topic errors, so each code is read here. Safe to run again and from many
    hosts at once. Raises TopicError, naming topic and cause.
    """
    wanted = declared_shapes(TOPICS.values() if topics is None else topics, replication)
    async with administration(kafka) as admin:
        await controller_known(admin)
        existing = set(await admin.list_topics())
        missing = [
            NewTopic(name, shape.partitions, replication, topic_configs=dict(shape.settings))
            for name, shape in wanted.items()
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


async def _check(admin: AIOKafkaAdminClient, wanted: dict[str, Shape]) -> None:
    if not wanted:
        return
    found = await shapes_of(admin, await _described(admin, list(wanted)))
    for name, shape in wanted.items():
        for difference in differences(name, shape, found[name]):
            raise TopicError(difference)


async def shapes_of(admin: AIOKafkaAdminClient, described: Iterable[Mapping[str, Any]]) -> dict[str, Shape]:
    """Topics as they stand, of those that `describe_topics` told of. Raises TopicError."""
    partitions = {each["topic"]: each["partitions"] for each in described}
    settings = await topic_configs(admin, partitions) if partitions else {}
    return {
        name: Shape(len(every), settings[name], min(len(one["replicas"]) for one in every))
        for name, every in partitions.items()
    }


def declared_shapes(topics: Iterable[Topic], replication: int) -> dict[str, Shape]:
    """These topics and their dead letters by name, as they are to stand on this many brokers."""
    declared = tuple(topics)
    # A record is acknowledged by a majority: one of three brokers may be away, and nothing that it alone had is lost.
    in_sync = {"min.insync.replicas": str((replication + 1) // 2)}
    return {
        **{
            topic.name: Shape(topic.partitions, {**topic_settings(topic), **in_sync}, replication) for topic in declared
        },
        **{topic.dead_letter: Shape(1, {**_dead_letter_settings(topic), **in_sync}, replication) for topic in declared},
    }


def differences(name: str, declared: Shape, found: Shape) -> list[str]:
    """What stands otherwise than declared; a setting that we do not declare is nobody's difference."""
    texts = []
    if found.partitions != declared.partitions:
        texts.append(f"{name} has {found.partitions} partitions, declared are {declared.partitions}: keys would move")
    if found.replicas != declared.replicas:
        texts.append(f"{name} lies on {found.replicas} brokers, declared are {declared.replicas}")
    for setting, value in declared.settings.items():
        if found.settings.get(setting) != value:
            texts.append(f"{name}: {setting} is {found.settings.get(setting)}, declared is {value}")
    return texts


async def topic_configs(admin: AIOKafkaAdminClient, names: Iterable[str]) -> dict[str, dict[str, str]]:
    """Every setting of topics that exist. Raises TopicError."""
    resources = [ConfigResource(ConfigResourceType.TOPIC, name) for name in names]
    found: dict[str, dict[str, str]] = {}
    for response in await admin.describe_configs(resources):
        for code, message, _, name, entries, *_ in response.resources:
            if code:
                raise TopicError(f"{name}: {message}")
            found[name] = {entry[0]: entry[1] for entry in entries}
    return found


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
