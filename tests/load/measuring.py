"""Figures: rounds of the same work, beside what the machine could do just before, and what it cost whom."""

import asyncio
import statistics
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

from deploy.native.layout import Layout
from services.igfmas.enrolment import Officer
from tests.load import yardstick
from tests.load.processes import Processes, used_between
from tests.load.progress import say
from tests.load.signings import Window, one_after_another, percentile
from tests.load.yardstick import Rates, Spread
from tests.support.chain import Client

ROUNDS = 3
COMPARED_ROUNDS = 9
"""Of what is compared: one and the same work differs by a tenth from round to round."""
SETTLING = 0.5
"""Seconds before each look at the CPU: the timeline and the marks of what is published follow the end of a request."""
WARM_UP, WARM_UP_PUKALS = 20, 5
"""What a new stack signs before anything is measured: its broker compiles meanwhile, and its plans are made."""


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
            by_part(costs),
        )


@dataclass(frozen=True)
class Latency:
    """What rounds of single documents took, in milliseconds: the percentiles of each round, and their spread."""

    what: str
    singles: int
    """In all rounds."""
    p50_ms: Spread
    p99_ms: Spread
    raw_hsm_per_s: Spread
    openssl_per_s: Spread

    @classmethod
    def of(cls, what: str, rounds: Sequence[Sequence[float]], machine: Sequence[Rates]) -> "Latency":
        """Put rounds together. Each has one single at least."""
        return cls(
            what,
            sum(map(len, rounds)),
            Spread.of([percentile(took, 0.5) for took in rounds]),
            Spread.of([percentile(took, 0.99) for took in rounds]),
            Spread.of([one.raw_hsm for one in machine]),
            Spread.of([one.openssl for one in machine]),
        )

    def __str__(self) -> str:
        """In one line."""
        return f"{self.what}, ms: p50 {self.p50_ms}, p99 {self.p99_ms}"


def by_part(costs: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The median of each process."""
    return {part: round(statistics.median(cost[part] for cost in costs), 1) for part in costs[0]}


class Rounds:
    """Rounds of some work on one stack, as they come."""

    def __init__(self, processes: Processes, what: str, work: Callable[[], Awaitable[Window]]) -> None:
        self._processes, self._what, self._work = processes, what, work
        self._windows: list[Window] = []
        self._costs: list[dict[str, float]] = []

    async def add(self) -> None:
        """One more."""
        await asyncio.sleep(SETTLING)
        before = self._processes.cpu_seconds()
        window = await self._work()
        await asyncio.sleep(SETTLING)
        self._windows.append(window)
        self._costs.append(used_between(before, self._processes.cpu_seconds(), window.documents))

    def figure(self, machine: Sequence[Rates]) -> Figure:
        """What they gave, which is told too."""
        found = Figure.of(self._what, self._windows, machine, self._costs)
        say(
            f"{found.what}: {found.per_s.median:.0f}/s ({found.per_s.least:.0f} to {found.per_s.most:.0f}), "
            f"raw HSM {found.raw_hsm_per_s.median:.0f}/s, ratio {found.ratio:.3f}, "
            f"{found.cpu_us.median:.0f} us of CPU a document"
        )
        return found


async def in_turns(works: Sequence[Rounds], rounds: int) -> list[Figure]:
    """So many rounds of each, a round of each in turn, with as many looks at the machine between them as `ROUNDS`."""
    machine = []
    for number in range(rounds):
        if number % -(-rounds // ROUNDS) == 0:
            machine.append(await yardstick.rates())
        for work in works if number % 2 == 0 else reversed(works):
            await work.add()
    return [work.figure(machine) for work in works]


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

    async def warm_up(self) -> None:
        """Sign what a new stack signs before it is measured."""
        await one_after_another(self.client, self.officers[0], 1, WARM_UP)
        await one_after_another(self.client, self.officers[0], self.scaled(1_000, least=50), WARM_UP_PUKALS)

    def rounds(self, what: str, *, count: int = 1_000, times: int = 1) -> Rounds:
        """Of Pukals of the first officer, so many in a round."""
        return Rounds(self.processes, what, lambda: one_after_another(self.client, self.officers[0], count, times))

    async def figure(self, what: str, work: Callable[[], Awaitable[Window]]) -> Figure:
        """Rounds of some work."""
        (found,) = await in_turns([Rounds(self.processes, what, work)], ROUNDS)
        return found

    async def pukals(self, what: str, *, count: int = 1_000, times: int = 1, rounds: int = ROUNDS) -> Figure:
        """Rounds of Pukals of the first officer."""
        (self.latest,) = await in_turns([self.rounds(what, count=count, times=times)], rounds)
        return self.latest
