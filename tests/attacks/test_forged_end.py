"""Who can write the broker tells an integrator of an end that never was: the SDK takes posting's word alone.

The same call believes it where the signature is not asked for.
"""

from collections.abc import AsyncIterator
from contextlib import aclosing
from uuid import uuid4

import pytest

from deploy.native import broker
from libs.contracts import topics
from libs.contracts.record import record_id_of
from libs.contracts.signing import Completed, PostedDocument
from libs.gpki_client import Caller, ForgedEventError
from libs.gpki_client import kafka as sdk
from libs.gpki_client.kafka import KafkaClient
from libs.runtime.clock import utc_now
from services.igfmas.keys import CALLER, CALLER_KEY
from services.igfmas.settings import SERVICE_ROOT
from tests.attacks.test_producer_signatures import forgeries
from tests.support.chain import Client, Officers, Request, client, officers, papers
from tests.support.producers import append

__all__ = ["client", "officers"]

pytestmark = pytest.mark.stack


async def ends_of(client: Client, request: Request, told: list[ForgedEventError]) -> AsyncIterator[list[str]]:
    """What an integrator's own program is told of a request: the documents that are posted, end after end."""
    layout = client.stack.layout
    caller = Caller.from_pem(CALLER, (layout.secrets(CALLER) / CALLER_KEY).read_bytes())
    options = broker.access(layout, CALLER).options()
    async with KafkaClient(
        options.pop("bootstrap_servers"),
        caller,
        group=f"{CALLER}-{uuid4().hex}",
        service_root=(layout.pki / SERVICE_ROOT).read_bytes(),
        forged=told.append,
        **options,
    ) as kafka:
        async for end in kafka.completed():
            if end.request_id == request.id:
                yield [one.document_id for one in end.posted]


async def first_end(client: Client, request: Request, told: list[ForgedEventError]) -> list[str]:
    async with aclosing(ends_of(client, request, told)) as ends:  # type: ignore[type-var]  # an async generator
        return await anext(ends)


async def test_a_forged_end_is_not_what_the_sdk_tells(
    client: Client, officers: Officers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """I-57: unsigned, by each wrong key, and altered; before the true end, under the request's own key."""
    request = await client.press(officers.maker, papers(1))
    never = f"never-{uuid4().hex[:8]}"
    lie = Completed(
        request_id=request.id,
        header=request.manifest.header,
        posted=(PostedDocument(document_id=never, record_id=record_id_of(request.id, never)),),
        rejected=(),
        completed_at=utc_now(),
    )
    made = forgeries(client.stack, topics.COMPLETED, lie)
    code = await request.otp()  # before: the reference client takes any end for the end
    await append(client.stack, *made)
    await request.authorise(otp=code)

    told: list[ForgedEventError] = []
    assert await first_end(client, request, told) == [paper.entry.id for paper in request.papers]
    assert len(told) >= len(made)

    async def believe(*_: object) -> None:
        return None

    monkeypatch.setattr(sdk._Keys, "check", believe)
    assert await first_end(client, request, []) == [never], "where the signature is not asked for"
