"""One figure: rounds of the same work, beside what the machine could do just before, and what it cost whom."""

import asyncio
import statistics
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

from deploy.native.layout import Layout
from services.igfmas.enrolment import Officer
from tests.load import yardstick
from tests.load.processes import Processes, used_between
from tests.load.progress import say
from tests.load.signings import Window, one_after_another
from tests.load.yardstick import Rates, Spread
from tests.support.chain import Client

ROUNDS = 3
COMPARED_ROUNDS = 9
"""Of what is compared: one and the same work differs by a tenth from round to round."""
SETTLING = 0.5
"""Seconds before each look at the CPU: the timeline and the marks of what is published follow the end of a request."""


@dataclass(frozen=True)
class Figure:
    """What some rounds gave. CPU is in microseconds per document, of every process of the stack and of the client."""

    what: str
    documents: int
    """In one round."""
    per_s: Spread
    raw_hsm_per_s: Spread
    openssl_per_s: Spread
    ratio: float
    """Median rate to the median of the raw HSM's."""
    cpu_us: Spread
    """Of all together."""
    cpu_us_by_part: dict[str, float]

    @classmethod
    def of(
        cls,
        what: str,
        windows: Sequence[Window],
        machine: Sequence[Rates],
        costs: Sequence[Mapping[str, float]],
    ) -> "Figure":
        """Put rounds together."""
        per_s, raw = Spread.of([one.per_s for one in windows]), Spread.of([one.raw_hsm for one in machine])
        return cls(
            what,
            windows[0].documents,
            per_s,
            raw,
            Spread.of([one.openssl for one in machine]),
            per_s.median / raw.median,
            Spread.of([sum(cost.values()) for cost in costs]),
            {part: round(statistics.median(cost[part] for cost in costs), 1) for part in costs[0]},
        )


@dataclass
class Bench:
    """What every part of the bench works with."""

    client: Client
    layout: Layout
    processes: Processes
    officers: list[Officer]
    """With real keys; the first signs wherever one is enough."""
    scale: float
    latest: Figure | None = None
    """The last plain Pukal figure."""

    def scaled(self, count: int, *, least: int = 1) -> int:
        """A size, as SCALE has it."""
        return max(round(count * self.scale), least)

    async def figure(self, what: str, work: Callable[[], Awaitable[Window]], *, rounds: int = ROUNDS) -> Figure:
        """Rounds of some work, with a look at the machine before each of them, or before some if there are many."""
        machine, windows, costs = [], [], []
        for number in range(rounds):
            if number % -(-rounds // ROUNDS) == 0:
                machine.append(await yardstick.rates())
            await asyncio.sleep(SETTLING)
            before = self.processes.cpu_seconds()
            windows.append(await work())
            await asyncio.sleep(SETTLING)
            costs.append(used_between(before, self.processes.cpu_seconds(), windows[-1].documents))
        found = Figure.of(what, windows, machine, costs)
        say(
            f"{what}: {found.per_s.median:.0f}/s ({found.per_s.least:.0f} to {found.per_s.most:.0f}), "
            f"raw HSM {found.raw_hsm_per_s.median:.0f}/s, ratio {found.ratio:.3f}, "
            f"{found.cpu_us.median:.0f} us of CPU a document"
        )
        return found

    async def pukals(self, what: str, *, count: int = 1_000, times: int = 1, rounds: int = ROUNDS) -> Figure:
        """Rounds of Pukals of the first officer."""
        self.latest = await self.figure(
            what, lambda: one_after_another(self.client, self.officers[0], count, times), rounds=rounds
        )
        return self.latest

    async def compared(self, before: str, after: str, change: Callable[[], Awaitable[None]]) -> list[Figure]:
        """The same Pukals shortly before and after something was done to the stack."""
        figures = [await self._warm(before)]
        await change()
        return [*figures, await self._warm(after)]

    async def _warm(self, what: str) -> Figure:
        """Pukals after one that pays for what was started anew."""
        count = self.scaled(1_000, least=50)
        await one_after_another(self.client, self.officers[0], count, 1)
        return await self.pukals(what, count=count, rounds=COMPARED_ROUNDS)
