"""Pukals and single documents at the same time, at half of the load that the platform can bear.

A single costs as much CPU as some fifty documents of a Pukal: it counts for as many.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from libs.gpki_client import GpkiError
from services.igfmas.chain import NotInTime
from services.igfmas.enrolment import Officer
from services.igfmas.mailbox import NoMail
from tests.load.measuring import Bench
from tests.load.processes import used_between
from tests.load.signings import pukal, single

SINGLES_PER_S = 3.0
PUKAL = 1_000
"""Documents of one, as design section 8 has it."""
PUKAL_OFFICERS = 3
"""Of so many officers, one signs Pukals."""
COUNTED = 40
"""Singles by which their cost is known."""
LEAST = 0.25
"""Share of the highest rate that Pukals have also where singles alone would already make half."""


@dataclass
class Load:
    """A steady load: each request comes when its time has come, and begins when an officer is free.

    An officer has one request at a time: of two codes with the same reference, which is short, nobody can tell which is
    which. What a request waits for an officer is in no figure of its own: its milliseconds begin with its PIN.
    """

    bench: Bench
    pukal_of: int
    documents_per_s: float
    """Of Pukals, beside the singles."""
    singles_ms: list[float] = field(default_factory=list)
    pukal_documents: int = 0
    failed: list[str] = field(default_factory=list)
    """Requests that did not end as they should, or not in time."""

    async def run(self, seconds: float) -> float:
        """For so long, and until all have ended; returns documents per second from the beginning to that end."""
        client, places, before = self.bench.client, len(self.bench.officers) // PUKAL_OFFICERS, self.documents
        of_pukals, of_singles = _free(self.bench.officers[:places]), _free(self.bench.officers[places:])
        began = time.monotonic()

        async def one_single() -> None:
            async with self._officer(of_singles) as officer:
                self.singles_ms.append(await single(client, officer))

        async def one_pukal() -> None:
            async with self._officer(of_pukals) as officer:
                await pukal(client, officer, self.pukal_of)
                self.pukal_documents += self.pukal_of

        async with asyncio.TaskGroup() as group:
            group.create_task(_steadily(group, one_single, 1 / SINGLES_PER_S, seconds))
            group.create_task(_steadily(group, one_pukal, self.pukal_of / self.documents_per_s, seconds))
        return (self.documents - before) / (time.monotonic() - began)

    @property
    def documents(self) -> int:
        """That were signed."""
        return self.pukal_documents + len(self.singles_ms)

    @asynccontextmanager
    async def _officer(self, free: "asyncio.Queue[Officer]") -> AsyncIterator[Officer]:
        officer = await free.get()
        try:
            yield officer
        except (NotInTime, NoMail, GpkiError, AssertionError) as error:
            self.failed.append(repr(error))
        finally:
            free.put_nowait(officer)


def _free(officers: Sequence[Officer]) -> "asyncio.Queue[Officer]":
    queue: asyncio.Queue[Officer] = asyncio.Queue()
    for officer in officers:
        queue.put_nowait(officer)
    return queue


async def half_load(bench: Bench, pukal_of: int) -> Load:
    """By what a Pukal's document and a single cost now."""
    figure = bench.latest or await bench.pukals(f"Pukal of {pukal_of:,}, for the maximum rate", count=pukal_of)
    single_counts = (await single_cost(bench, COUNTED)) / figure.cpu_us.median
    most = figure.per_s.median
    return Load(bench, pukal_of, max(most / 2 - SINGLES_PER_S * single_counts, LEAST * most))


async def single_cost(bench: Bench, count: int) -> float:
    """Microseconds of CPU, of all processes, for one document by itself."""
    before = bench.processes.cpu_seconds()
    for _ in range(count):
        await single(bench.client, bench.officers[0])
    return sum(used_between(before, bench.processes.cpu_seconds(), count).values())


async def _steadily(
    group: asyncio.TaskGroup, begin: Callable[[], Coroutine[Any, Any, None]], every: float, seconds: float
) -> None:
    """By the clock and not by the end of the one before: who waits must not thin out the load."""
    began, number = time.monotonic(), 0
    while (due := number * every) < seconds:
        await asyncio.sleep(max(began + due - time.monotonic(), 0))
        group.create_task(begin())
        number += 1
