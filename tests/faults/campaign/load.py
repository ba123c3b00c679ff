"""A steady mixed load: officers who sign one Pukal after another, and singles beside them, whatever happens."""

import asyncio
import contextlib
import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Final, Self
from uuid import UUID

import asyncpg
from aiokafka.errors import KafkaError

from libs.contracts.problems import ProblemCode
from libs.gpki_client import GpkiUnavailable, Problem
from services.igfmas.chain import NotInTime
from services.igfmas.documents import Paper
from services.igfmas.enrolment import Officer
from services.igfmas.mailbox import NoMail
from tests.support.chain import Client, Request, papers


@dataclass(frozen=True)
class Weight:
    """Documents of a Pukal, and seconds between two singles."""

    pukal: int
    single_every: float


FULL: Final = Weight(1_000, 0.4)
LIGHT: Final = Weight(100, 0.5)
"""For a fault that is tried alone: enough that every stage is at work all the time."""

BETWEEN_PUKALS: Final = 2.0
"""Seconds from the end of one to the next: what is struck is a stack at work, not one that drowns."""

AGAIN: Final = 0.5
"""Seconds until an officer or iGFMAS tries again what was not answered."""

DATABASE_AWAY: Final = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)
"""The last of them is asyncpg's of a statement that begins while its connection is being lost."""

MESSAGE: Final = "SELECT message_id FROM otp_dispatch.code WHERE request_id = $1"

PATIENCE: Final = 180.0
"""Seconds after which nobody waits for a step any more; what is open then is lost."""


async def journey(client: Client, officer: Officer, signed: Sequence[Paper]) -> None:
    """One request: press, read the code, hand it in, wait for the end; each again until it is answered.

    Returns when nobody waits for it any more. What became of it the client's observation says.
    """
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(PATIENCE):
            request = await _press(client, officer, signed)
            if (code := await _code(request)) is not None:
                await _authorise(request, code)
            while not request.seen.settled:
                with contextlib.suppress(NotInTime):
                    await request.end()


async def _press(client: Client, officer: Officer, signed: Sequence[Paper]) -> Request:
    while True:
        try:
            return await client.press(officer, signed, request=signed[0].entry.id)
        except (KafkaError, TimeoutError):
            await asyncio.sleep(AGAIN)


async def _authorise(request: Request, code: str) -> None:
    try:
        await request.insist(otp=code)
    except Problem as error:
        # A code of 20 s may die while it is typed. How the request ended is judged by what was seen of it.
        if error.code != ProblemCode.AUTHORISATION_TOO_LATE:
            raise


async def _code(request: Request) -> str | None:
    """The code, once there is one; None when the request ended before."""
    while not request.seen.settled:
        try:
            await request.until(lambda: bool(request.seen.dispatched), "the OTP")
            # An officer has some hundred codes here in ten minutes: two of one reference are not rare.
            return await request.otp(message=await request.client.value(MESSAGE, request.id))
        except (GpkiUnavailable, NoMail, NotInTime, OSError, *DATABASE_AWAY):
            await asyncio.sleep(AGAIN)
        except AssertionError:  # it ended before a code was sent
            break
    return None


@dataclass
class Load:
    """While entered, requests are pressed; after `stop_pressing` those under way go on to their end."""

    client: Client
    officers: Sequence[Officer]
    weight: Weight = FULL
    _before: "set[UUID]" = field(default_factory=set)
    _walking: "list[asyncio.Task[None]]" = field(default_factory=list)
    _pressing: "list[asyncio.Task[None]]" = field(default_factory=list)

    async def __aenter__(self) -> Self:
        self._before = set(self.client.chain.observation.requests)
        self._pressing = [asyncio.create_task(self._singles()), asyncio.create_task(self._pukals())]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for task in (*self._pressing, *self._walking):
            task.cancel()
        await asyncio.gather(*self._pressing, *self._walking, return_exceptions=True)

    async def stop_pressing(self) -> None:
        """Nobody begins anything more."""
        for task in self._pressing:
            task.cancel()
        await asyncio.gather(*self._pressing, return_exceptions=True)

    async def flows(self) -> None:
        """Return when documents of it are being posted: what is struck before that is an idle stack."""
        requests = self.client.chain.observation.requests

        def posted_of_pukal() -> bool:
            own = (requests[name].documents.values() for name in requests.keys() - self._before)
            return any(document.posted for documents in own if len(documents) > 1 for document in documents)

        await self.client.chain.wait(posted_of_pukal, "a document of the first Pukal posted", seconds=PATIENCE)

    def under_way(self) -> "list[asyncio.Task[None]]":
        """Every request that was begun so far."""
        return list(self._walking)

    async def settled(self, requests: "Sequence[asyncio.Task[None]]") -> None:
        """Return when these have ended, or were given up."""
        await asyncio.gather(*requests)

    def _begin(self, officer: Officer, count: int) -> None:
        self._walking.append(asyncio.create_task(journey(self.client, officer, papers(count))))

    async def _singles(self) -> None:
        for officer in itertools.cycle(self.officers[1:]):
            self._begin(officer, 1)
            await asyncio.sleep(self.weight.single_every)

    async def _pukals(self) -> None:
        while True:
            self._begin(self.officers[0], self.weight.pukal)
            await asyncio.shield(self._walking[-1])
            await asyncio.sleep(BETWEEN_PUKALS)
