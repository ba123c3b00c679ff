"""What the tests of faults share: a request of 500 on its way, and the judgement that everything happened once."""

import asyncio
import email
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from libs.contracts import topics
from libs.contracts.signing import Completed
from services.igfmas.enrolment import Officer
from tests.support.chain import Client, Officers, Request, client, officers, papers
from tests.support.faults import Held, all_read
from tests.support.journal import Ends, ends_of, header, history
from tests.support.waiting import eventually

__all__ = ["client", "officers"]

PUKAL = 500
"""Documents of a request that is struck: more than two replicas hold in slices (100 each), so that some are left."""

DOCUMENT_TOPICS = (topics.SIGNED, topics.VERIFIED, topics.POSTED)


@dataclass
class Pukal:
    """One officer's journey with his vouchers, walked beside what the test does to the stack."""

    client: Client
    officer: Officer
    since: Ends
    request: Request | None = None
    journey: "asyncio.Task[Completed] | None" = None
    _pressed: asyncio.Event = field(default_factory=asyncio.Event)

    def begin(self) -> None:
        """Press the button, and go on to the end."""
        self.journey = asyncio.create_task(self._walk())

    async def pressed(self) -> Request:
        """The request, once it is published."""
        assert self.journey is not None
        waiting = asyncio.create_task(self._pressed.wait())
        await asyncio.wait([waiting, self.journey], return_when=asyncio.FIRST_COMPLETED)
        if self.journey.done():
            await self.journey
        assert self.request is not None
        return self.request

    async def _walk(self) -> Completed:
        self.request = await self.client.press(self.officer, papers(PUKAL))
        self._pressed.set()
        await self.request.insist(otp=await self.request.otp())
        return await self.request.end()

    async def count(self, query: str) -> int:
        """A number from a table; `$1` is the request, `$2` the first bytes of every document's id."""
        assert self.request is not None
        prefix = self.request.papers[0].entry.id.partition("-")[0].encode()
        arguments: tuple[Any, ...] = (self.request.id, prefix) if "$2" in query else (self.request.id,)
        return int(await self.client.value(query, *arguments) or 0)

    async def reaches(self, query: str, wanted: int) -> None:
        """Wait until a stage has done so many documents, while it is at it."""
        await self.pressed()
        assert self.journey is not None
        journey = self.journey

        async def enough() -> bool:
            assert not journey.done(), journey
            return await self.count(query) >= wanted

        await eventually(enough, f"{wanted} of {query}", every=0.01, seconds=60)

    async def caught(self, held: Held, query: str, wanted: int) -> int:
        """Let a stage do so many documents; returns its process, which has acted on more and waits to write."""
        await self.pressed()

        async def enough() -> bool:
            return await self.count(query) >= wanted

        pid = await held.until(enough)
        assert await self.count(query) < PUKAL, "not in the middle"
        return pid

    async def ends(self) -> Completed:
        """The end of the request, whatever was done to the stack."""
        assert self.journey is not None
        return await self.journey

    async def happened_once(self, *, mails: range = range(1, 2)) -> None:
        """I-13, I-20, I-21: every document was signed, verified and posted once, and one code was made."""
        completed = await self.ends()
        request, stack = self.request, self.client.stack
        assert request is not None
        names = [paper.entry.id for paper in request.papers]
        assert [one.document_id for one in completed.posted] == names
        assert completed.rejected == ()
        await all_read(stack)
        await self.client.chain.drain()
        assert len(request.seen.completed) == 1
        ids: dict[tuple[str, str], set[str]] = defaultdict(set)
        for record in await history(stack, *DOCUMENT_TOPICS, since=self.since):
            ids[record.topic, (record.key or b"").decode()].add(header(record, "ce_id"))
        for topic in DOCUMENT_TOPICS:
            assert [len(ids[topic.name, name]) for name in names] == [1] * len(names), topic.name
        for name, document in request.seen.documents.items():
            assert len(document.signatures) == len(document.records) == 1, name
        assert await self.count("SELECT count(*) FROM posting.record WHERE request_id = $1") == len(names)
        assert await self.client.value("SELECT max(position) + 1 = count(*) FROM posting.signing_log"), "a gap"
        assert await self.count("SELECT count(*) FROM otp_dispatch.code WHERE request_id = $1") == 1
        assert len(self._mails(await self.client.value(_MESSAGE_ID, request.id))) in mails

    def _mails(self, message_id: str) -> list[email.message.EmailMessage]:
        found = [mail for mail in self.client.stack.mailbox(self.officer.email) if mail["Message-ID"] == message_id]
        # The code and its reference; the line on how long it is valid counts from each sending.
        assert len({mail.get_content().splitlines()[0] for mail in found}) == 1, "one code"
        return found


_MESSAGE_ID = "SELECT message_id FROM otp_dispatch.code WHERE request_id = $1"


@pytest.fixture
async def new_pukal(client: Client, officers: Officers) -> AsyncIterator[Callable[[], Awaitable[Pukal]]]:
    """Makes Pukals that are yet to begin."""
    made: list[Pukal] = []

    async def make() -> Pukal:
        made.append(Pukal(client, officers.maker, await ends_of(client.stack, *DOCUMENT_TOPICS)))
        return made[-1]

    yield make
    journeys = [one.journey for one in made if one.journey is not None]
    for journey in journeys:
        journey.cancel()
    await asyncio.gather(*journeys, return_exceptions=True)


@pytest.fixture
async def pukal(new_pukal: Callable[[], Awaitable[Pukal]]) -> Pukal:
    """One of them."""
    return await new_pukal()
