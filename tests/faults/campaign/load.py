"""A steady mixed load: officers who sign one Pukal after another, and singles beside them, whatever happens."""

import asyncio
import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Final, Self

from aiokafka.errors import KafkaError

from libs.contracts.problems import ProblemCode
from libs.gpki_client import GpkiUnavailable, Problem
from services.igfmas.chain import NotInTime
from services.igfmas.documents import Paper
from services.igfmas.enrolment import Officer
from services.igfmas.mailbox import NoMail
from services.igfmas.observation import RequestSeen
from tests.support.chain import Client, Request, papers

PUKAL: Final = 500
SINGLE_EVERY: Final = 0.4
"""Seconds between two singles."""

BETWEEN_PUKALS: Final = 2.0
"""Seconds from the end of one to the next: what is struck is a stack at work, not one that drowns."""

AGAIN: Final = 0.5
"""Seconds until an officer or iGFMAS tries again what was not answered."""

PATIENCE: Final = 180.0
"""Seconds after which nobody waits for a step any more; what is open then is lost."""


@dataclass
class Journey:
    """One request on its way; `seen` is what Kafka said of it, None until it was pressed."""

    officer: Officer
    papers: Sequence[Paper]
    seen: RequestSeen | None = None
    gave_up: str = ""
    """What was not to be had in time; the account decides whether anything was lost by it."""

    async def walk(self, client: Client) -> None:
        """Press, read the code, hand it in, wait for the end; each again until it is answered."""
        try:
            async with asyncio.timeout(PATIENCE):
                request = await self._press(client)
                self.seen = request.seen
                await self._authorise(request)
                while not request.seen.settled:
                    await _patiently(request.end())
        except TimeoutError:
            self.gave_up = f"not within {PATIENCE:.0f} s"

    async def _press(self, client: Client) -> Request:
        name = self.papers[0].entry.id
        while True:
            try:
                return await client.press(self.officer, self.papers, request=name)
            except (KafkaError, TimeoutError):
                await asyncio.sleep(AGAIN)

    async def _authorise(self, request: Request) -> None:
        unanswered = False
        while not request.seen.settled:
            try:
                await request.authorise(otp=await request.otp())
            except (GpkiUnavailable, NoMail, NotInTime):
                unanswered = True
                await asyncio.sleep(AGAIN)
            except AssertionError:  # it ended before a code was sent
                return
            except Problem as problem:
                if problem.status >= 500:
                    unanswered = True
                    await asyncio.sleep(AGAIN)
                elif unanswered and problem.code == ProblemCode.AUTHORISATION_TOO_LATE:
                    return  # what was not answered had been taken
                else:
                    raise
            else:
                return


async def _patiently(step: object) -> None:
    try:
        await step  # type: ignore[misc]
    except NotInTime:
        await asyncio.sleep(AGAIN)


@dataclass
class Load:
    """While entered, requests are pressed; after `stop_pressing` those under way go on to their end."""

    client: Client
    officers: Sequence[Officer]
    journeys: list[Journey] = field(default_factory=list)
    _walking: "list[asyncio.Task[None]]" = field(default_factory=list)
    _pressing: "list[asyncio.Task[None]]" = field(default_factory=list)

    async def __aenter__(self) -> Self:
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

    async def settled(self) -> None:
        """Every request that was begun has ended, or was given up."""
        await asyncio.gather(*self._walking)

    def _begin(self, officer: Officer, count: int) -> "asyncio.Task[None]":
        journey = Journey(officer, papers(count))
        self.journeys.append(journey)
        return asyncio.create_task(journey.walk(self.client))

    async def _singles(self) -> None:
        for officer in itertools.cycle(self.officers[1:]):
            self._walking.append(self._begin(officer, 1))
            await asyncio.sleep(SINGLE_EVERY)

    async def _pukals(self) -> None:
        while True:
            walking = self._begin(self.officers[0], PUKAL)
            self._walking.append(walking)
            await asyncio.shield(walking)
            await asyncio.sleep(BETWEEN_PUKALS)
