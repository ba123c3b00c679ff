"""An officer as the platform knows it, and what an order about it came to; believed by its producers' signatures."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from libs.bus.delivery import Undecodable, decode
from libs.bus.producers import Producers
from libs.bus.reader import Raw
from libs.bus.trust import read_service_root
from libs.contracts import topics
from libs.contracts.base import Event
from libs.contracts.cloudevents import encode
from libs.contracts.state import Certificate, User
from libs.contracts.topics import Topic
from libs.runtime.clock import utc_now
from libs.runtime.kafka_access import KafkaAccess
from services.operations.dead_letters import SOURCE
from services.operations.reading import consumer, placed, until_end
from services.operations.sending import send

ANSWER_SECONDS: Final = 30.0
"""How long an order's answer is waited for."""

Answers = Callable[[Event], bool]


@dataclass(frozen=True)
class Officer:
    """Who it is, and the newest state of the newest certificate."""

    user: User
    certificate: Certificate


class Officers:
    """What producers' keys of `gpki.keys.v1`, under the pinned service root, have signed. Raises KafkaError."""

    def __init__(self, kafka: KafkaAccess, producers: Producers) -> None:
        self._kafka = kafka
        self._producers = producers

    async def find(self, user: str) -> Officer | None:
        """None when nobody of this number, or no certificate, is known."""
        found = await self._newest(topics.USER, user)
        if found is None or found.credential_id is None:
            return None
        certificate = await self._newest(topics.CERTIFICATE, str(found.credential_id))
        return None if certificate is None else Officer(found, certificate)

    async def follow(self, topic: Topic, order: Event, answer: Topic, key: str, *, until: Answers) -> Event | None:
        """Send an order, and return the answer to it; None when none came within ANSWER_SECONDS."""
        place = placed(answer, key.encode())
        async with consumer(self._kafka, [place]) as reader:
            await reader.seek_to_end(place)
            await reader.position(place)  # resolves the seek: what comes after this is read
            reader.resume(place)
            await send(self._kafka, encode(topic, order, source=SOURCE, time=utc_now()))
            try:
                async with asyncio.timeout(ANSWER_SECONDS):
                    while True:
                        found: Event | None = self._genuine(answer, await reader.getone())
                        if found is not None and until(found):
                            return found
            except TimeoutError:
                return None

    async def _newest(self, topic: Topic, key: str) -> Any:
        newest: Any = None
        place = placed(topic, key.encode())
        async with consumer(self._kafka, [place]) as reader:
            await reader.seek_to_beginning(place)
            async for raw in until_end(reader):
                found = self._genuine(topic, raw) if raw.key == key.encode() else None
                if found is not None and (newest is None or found.version > newest.version):
                    newest = found
        return newest

    def _genuine(self, topic: Topic, raw: Raw) -> Any:
        found = decode(topic, raw, self._producers.judge)
        return None if isinstance(found, Undecodable) else found.event


@asynccontextmanager
async def officers(kafka: KafkaAccess, pki: Path) -> AsyncIterator[Officers]:
    """Raises ConfigurationError when the pinned root cannot be read, Unavailable."""
    async with aclosing(Producers(kafka, read_service_root(pki))) as producers:
        await producers.look()
        yield Officers(kafka, producers)
