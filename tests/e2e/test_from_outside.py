"""A Pukal of 500; and those who are not of the platform: a producer with the SDK alone, a tool that watches topics."""

import asyncio
from collections import Counter, defaultdict
from typing import Self
from uuid import uuid4

import httpx
import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition

from libs.contracts import topics
from libs.gpki_client import Caller
from libs.gpki_client.answers import Completed
from libs.gpki_client.kafka import KafkaClient
from libs.runtime.clock import utc_now
from libs.runtime.kafka_access import MECHANISM
from libs.runtime.transport import client_context
from services.igfmas.keys import CALLER, CALLER_KEY
from services.igfmas.settings import OBSERVER, SERVICE_ROOT
from tests.e2e.test_sdk import manifest_of, otp_of
from tests.faults.conftest import PUKAL, Pukal
from tests.support.chain import Client, Officers
from tests.support.stack import Stack
from tests.support.waiting import eventually

pytestmark = [pytest.mark.stack, pytest.mark.timeout(240)]

ONE_PER_REQUEST = (
    topics.REQUESTED,
    topics.MEDIUM_RESOLVED,
    topics.OTP_DISPATCHED,
    topics.AUTHORISATION_SUBMITTED_BULK,
    topics.COMPLETED,
)
ONE_PER_DOCUMENT = (topics.SIGNED, topics.VERIFIED, topics.POSTED)
END_SECONDS = 120


async def test_500_are_signed_verified_and_posted_once_with_one_pin_and_one_code(pukal: Pukal) -> None:
    pukal.begin()
    await pukal.happened_once()


async def test_a_producer_with_the_sdk_alone_and_a_tool_that_watches_see_the_same_500(
    client: Client, officers: Officers
) -> None:
    """Each has an address, an account of its own, and files that it was handed: a password, and PEMs to trust."""
    layout = client.stack.layout
    caller = Caller.from_pem(CALLER, (layout.secrets("igfmas") / CALLER_KEY).read_bytes())
    root = (layout.pki / SERVICE_ROOT).read_bytes()
    asked = manifest_of(officers.maker, PUKAL)
    async with Tool(client.stack) as tool:
        connection = connected_as(client.stack, CALLER)
        group = f"{CALLER}-{uuid4().hex}"
        async with KafkaClient(caller=caller, group=group, service_root=root, **connection) as kafka:
            await kafka.request(asked)
            async for event in client.gateway.follow(asked.request_id, asked.user):
                if event.kind == "otp-dispatched":
                    code = await otp_of(client, officers.maker, event.data["reference_code"])
                    await client.gateway.authorise(
                        asked.request_id, asked.user, root=asked.root, pin=officers.maker.pin, otp=code
                    )
            end = await end_of(kafka, asked.request_id)
        names = [document.id for document in asked.documents]
        assert [one.document_id for one in end.posted] == names
        for topic in ONE_PER_REQUEST:
            assert (await tool.seen(topic.name))[str(asked.request_id)] == 1, topic.name
        for topic in ONE_PER_DOCUMENT:
            seen = await tool.seen(topic.name)
            assert [seen[name] for name in names] == [1] * PUKAL, topic.name


async def test_a_caller_s_token_opens_nothing_but_over_the_caller_s_own_connection(client: Client) -> None:
    """I-59."""
    stack = client.stack

    async def status(http: httpx.AsyncClient) -> int:
        bearer = {"Authorization": f"Bearer {client.caller.assertion('800101145566', at=utc_now())}"}
        async with http:
            return (await http.get("/v1/sealing-key", headers=bearer)).status_code

    assert await status(stack.http()) == 401

    async def answered() -> int:  # a stack that has just started knows no sealing key yet, and says: come again
        found = await status(httpx.AsyncClient(base_url=stack.gateway, verify=stack.caller_tls(), trust_env=False))
        return 0 if found == 503 else found

    assert await eventually(answered, "the gateway knows the sealing key") == 200
    with pytest.raises(httpx.TransportError):
        await status(httpx.AsyncClient(base_url=stack.gateway.replace("https", "http"), trust_env=False))


async def end_of(kafka: KafkaClient, request_id: object) -> Completed:
    """Of one request among all that end."""
    async with asyncio.timeout(END_SECONDS):
        async for end in kafka.completed():
            if end.request_id == request_id:
                return end
    raise AssertionError("unreachable: it goes on until the time-out")


def connected_as(stack: Stack, account: str) -> dict:
    """What any client of Kafka is told, from the files of one account."""
    root = stack.layout.transport_root
    return {
        "bootstrap": stack.layout.bootstrap,
        "security_protocol": "SASL_SSL" if root else "SASL_PLAINTEXT",
        "ssl_context": client_context(root),
        "sasl_mechanism": MECHANISM,
        "sasl_plain_username": account,
        "sasl_plain_password": (stack.layout.secrets(account) / "kafka_password").read_text(),
    }


class Tool:
    """An operator's or a monitoring system's: it joins no group, commits nothing, and reads keys on every topic."""

    def __init__(self, stack: Stack) -> None:
        told = connected_as(stack, OBSERVER)
        self._consumer = AIOKafkaConsumer(
            bootstrap_servers=told.pop("bootstrap"), enable_auto_commit=False, max_partition_fetch_bytes=8 << 20, **told
        )
        self._seen: defaultdict[str, Counter[str]] = defaultdict(Counter)

    async def __aenter__(self) -> Self:
        await self._consumer.start()
        await self._consumer._client.force_metadata_update()
        ours = sorted(name for name in await self._consumer.topics() if name.startswith("gpki.signing."))
        partitions = [
            TopicPartition(name, number) for name in ours for number in self._consumer.partitions_for_topic(name) or ()
        ]
        assert partitions
        self._consumer.assign(partitions)
        await self._consumer.seek_to_end(*partitions)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._consumer.stop()

    async def seen(self, topic: str) -> Counter[str]:
        """How often each key came on a topic, up to where it ends now."""
        places = [one for one in self._consumer.assignment() if one.topic == topic]
        ends = await self._consumer.end_offsets(places)
        async with asyncio.timeout(END_SECONDS):
            while any([await self._consumer.position(place) < end for place, end in ends.items()]):
                for batch in (await self._consumer.getmany(timeout_ms=200)).values():
                    self._seen[batch[0].topic].update((record.key or b"").decode() for record in batch)
        return self._seen[topic]
