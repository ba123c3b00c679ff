"""The same without HTTP (extra `kafka`): `requested` is produced, and `completed` consumed. PIN and OTP need HTTP."""

import asyncio
import json
from collections.abc import AsyncGenerator
from types import TracebackType
from typing import Any, Final, Self
from uuid import uuid4, uuid5

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from .answers import Completed, read
from .caller import Caller
from .client import base64_text
from .clock import Clock, utc_now
from .errors import AnswerError
from .manifest import Manifest

REQUESTED: Final = "gpki.signing.requested.v1"
COMPLETED: Final = "gpki.signing.completed.v1"

MAX_REQUEST_SIZE: Final = 8_126_464
"""Bytes of one record, as the topic takes it: 10,000 documents are about 2.5 MB."""

SEND_SECONDS: Final = 20.0

Headers = list[tuple[str, bytes]]


def requested(manifest: Manifest, caller: Caller, *, clock: Clock = utc_now) -> tuple[bytes, bytes, Headers]:
    """Key, value and headers of `requested`: a CloudEvent 1.0 in Kafka's binary mode. About 10 µs a document."""
    value = {
        "manifest": manifest.as_json(),
        "caller_key": caller.key_id,
        "signature": base64_text(caller.sign_root(manifest.root)),
    }
    key, trace = str(manifest.request_id), uuid4().hex
    headers = {
        "ce_specversion": "1.0",
        "ce_id": str(uuid5(manifest.request_id, manifest.root.hex())),
        "ce_source": f"/gpki/{caller.name}",
        "ce_type": REQUESTED,
        "ce_time": clock().isoformat(),
        "ce_subject": key,
        "content-type": "application/json",
        "traceparent": f"00-{trace}-{trace[:16]}-01",
    }
    return key.encode(), json.dumps(value).encode(), [(name, text.encode()) for name, text in headers.items()]


class KafkaClient:
    """Requests out, their ends in. Enter it once. `options` (security, TLS) go to aiokafka as they are.

    `group` names your system's consumers, beginning with your own name and a hyphen, which the brokers allow you: what
    ended while none ran is told when one runs again.
    """

    def __init__(self, bootstrap: str, caller: Caller, *, group: str, **options: Any) -> None:
        self._caller = caller
        self._producer = AIOKafkaProducer(
            bootstrap_servers=bootstrap, acks="all", enable_idempotence=True, max_request_size=MAX_REQUEST_SIZE,
            **options,
        )  # fmt: skip
        self._consumer = AIOKafkaConsumer(
            COMPLETED, bootstrap_servers=bootstrap, group_id=group, enable_auto_commit=False,
            auto_offset_reset="earliest", **options,
        )  # fmt: skip

    async def __aenter__(self) -> Self:
        try:
            await self._producer.start()
            await self._consumer.start()
        except BaseException:
            await self._stop()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stop()

    async def request(self, manifest: Manifest) -> None:
        """Produce it; returns when the brokers have it. Raises KafkaError, TimeoutError: then send the same again."""
        key, value, headers = await asyncio.to_thread(requested, manifest, self._caller)
        async with asyncio.timeout(SEND_SECONDS):
            await self._producer.send_and_wait(REQUESTED, value, key=key, headers=headers)

    async def completed(self) -> AsyncGenerator[Completed, None]:
        """Every end, of other callers' requests too: act on yours, once per request id, for one may come twice.

        It counts as handled when the next one is asked for. Raises AnswerError, KafkaError.
        """
        async for record in self._consumer:
            try:
                value = json.loads(record.value)
            except ValueError:
                raise AnswerError("a record of completed is not JSON") from None
            yield read(Completed, value)
            await self._consumer.commit({TopicPartition(record.topic, record.partition): record.offset + 1})

    async def _stop(self) -> None:
        try:
            await self._consumer.stop()
        finally:
            await self._producer.stop()
