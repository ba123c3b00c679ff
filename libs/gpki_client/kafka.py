"""The same without HTTP (extra `kafka`): `requested` is produced, and `completed` consumed. PIN and OTP need HTTP."""

import asyncio
import json
import logging
import time
from collections.abc import AsyncGenerator, Callable
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Final, Self
from uuid import uuid4, uuid5

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord, TopicPartition

from .answers import Completed, parsed, read
from .caller import Caller
from .client import base64_text
from .clock import Clock, utc_now
from .errors import ForgedEventError, UnknownProducerError
from .manifest import Manifest
from .producers import COMPLETED, KEYS, EventRecord, ProducerKeys

REQUESTED: Final = "gpki.signing.requested.v1"

MAX_REQUEST_SIZE: Final = 8_126_464
"""Bytes of one record, as the topic takes it: 10,000 documents are about 2.5 MB."""

SEND_SECONDS: Final = 20.0

KEYS_AGE: Final = 30.0
"""Seconds after which the producers' keys are read on: for so long a key that was replaced may still be believed."""

KEYS_SECONDS: Final = 10.0
"""For reading them."""

FETCH_WAIT_MS: Final = 50
"""A fetch that stands at the broker holds up the next question."""

log = logging.getLogger("gpki_client")

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
    ended while none ran is told when one runs again. `service_root` is the pinned `service_root.pem`, as it was handed
    over; never one from the network. `forged` is called for every record that posting did not sign; by default it is a
    warning of the logger `gpki_client`.
    """

    def __init__(
        self,
        bootstrap: str,
        caller: Caller,
        *,
        group: str,
        service_root: bytes,
        forged: Callable[[ForgedEventError], None] | None = None,
        **options: Any,
    ) -> None:
        self._caller = caller
        self._forged = forged or _warn
        self._producer = AIOKafkaProducer(
            bootstrap_servers=bootstrap, acks="all", enable_idempotence=True, max_request_size=MAX_REQUEST_SIZE,
            **options,
        )  # fmt: skip
        self._consumer = AIOKafkaConsumer(
            COMPLETED, bootstrap_servers=bootstrap, group_id=group, enable_auto_commit=False,
            auto_offset_reset="earliest", **options,
        )  # fmt: skip
        self._keys = _Keys(bootstrap, service_root, options)

    async def __aenter__(self) -> Self:
        try:
            await self._producer.start()
            await self._consumer.start()
            await self._keys.start()
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

        Each was signed by posting; what was not is passed over, and told to `forged`. It counts as handled when the
        next one is asked for. Raises AnswerError; KafkaError, TimeoutError also when the keys could not be read on.
        """
        async for record in self._consumer:
            try:
                await self._keys.check(record)
            except ForgedEventError as error:
                told = f"{record.topic}, partition {record.partition}, offset {record.offset}: {error}"
                self._forged(ForgedEventError(told))
                continue
            yield read(Completed, parsed(record.value or b"", "a record of completed"))
            await self._consumer.commit({TopicPartition(record.topic, record.partition): record.offset + 1})

    async def _stop(self) -> None:
        try:
            await self._consumer.stop()
        finally:
            try:
                await self._keys.stop()
            finally:
                await self._producer.stop()


class _Keys:
    """The producers' keys, read to the end of their topic at the start, and on from there when they are asked about."""

    def __init__(self, bootstrap: str, service_root: bytes, options: dict[str, Any]) -> None:
        self._producers = ProducerKeys(service_root)
        self._place = TopicPartition(KEYS, 0)
        self._looked = 0.0
        self._consumer = AIOKafkaConsumer(
            bootstrap_servers=bootstrap, enable_auto_commit=False, auto_offset_reset="earliest",
            fetch_max_wait_ms=FETCH_WAIT_MS, **options,
        )  # fmt: skip

    async def start(self) -> None:
        await self._consumer.start()
        self._consumer.assign([self._place])
        self._consumer.pause(self._place)
        await self._look()

    async def stop(self) -> None:
        await self._consumer.stop()

    async def check(self, record: "ConsumerRecord[bytes, bytes]") -> None:
        """Raises ForgedEventError; KafkaError, TimeoutError when it cannot be known now."""
        if time.monotonic() - self._looked > KEYS_AGE:
            await self._look()
        event = event_record(record)
        try:
            self._producers.check(event)
        except UnknownProducerError:
            await self._look()
            self._producers.check(event)

    async def _look(self) -> None:
        async with asyncio.timeout(KEYS_SECONDS):
            end = (await self._consumer.end_offsets([self._place]))[self._place]
            self._consumer.resume(self._place)
            try:
                while await self._consumer.position(self._place) < end:
                    batch = (await self._consumer.getmany(self._place, timeout_ms=FETCH_WAIT_MS)).get(self._place, [])
                    self._producers.learn([event_record(one) for one in batch])
            finally:
                self._consumer.pause(self._place)
        self._looked = time.monotonic()


def event_record(record: "ConsumerRecord[bytes, bytes]") -> EventRecord:
    """As it was signed: to its producer nothing and empty are the same, to Kafka they are not."""
    headers = [(name, value or b"") for name, value in record.headers]
    at = datetime.fromtimestamp(record.timestamp / 1000, UTC)
    return EventRecord(record.topic, record.key, record.value or b"", headers, at)


def _warn(error: ForgedEventError) -> None:
    log.warning("passed over, not posting's: %s", error)
