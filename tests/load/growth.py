"""Whether a document costs more where there are more of them, apart from what a request costs by itself."""

from collections.abc import Sequence
from dataclasses import dataclass

from tests.load.yardstick import Spread

DOMINATED = 0.1
"""Of the cost of a size, the share that may be its requests' own for the size to count as one of documents."""


@dataclass(frozen=True)
class Growth:
    """`growth`: the cost of a document at the largest size, divided by that at the smallest of documents."""

    growth: float
    smallest: int
    largest: int
    request_cpu_ms: float
    """What a request costs by itself: PIN, code, mail, status, and all that is done once for it."""
    first_to_last: float
    """Among the rounds of the largest size: the last divided by the first."""

    def as_json(self) -> dict[str, object]:
        """For the results, with what it means."""
        return {
            "request_cpu_ms": self.request_cpu_ms,
            "growth_is": f"cost of a document at {self.largest:,} divided by that at {self.smallest:,}, the smallest "
            f"size of whose cost at most {DOMINATED:.0%} is that of its requests by themselves",
            "first_to_last_of_sequence": self.first_to_last,
        }


def growth_of(sizes: Sequence[int], costs: Sequence[Spread]) -> Growth:
    """From the cost of a document by size, ascending. The smallest size is one request; so is the second.

    Of two requests of n and m documents the difference is the price of m - n documents, and what is left of the
    smaller one is the request's own.
    """
    whole = [cost.median * size for size, cost in zip(sizes, costs, strict=True)]
    document = (whole[1] - whole[0]) / (sizes[1] - sizes[0])
    request = max(whole[0] - document * sizes[0], 0.0)
    base = next((place for place, cost in enumerate(whole) if request <= DOMINATED * cost), len(sizes) - 1)
    last = costs[-1].rounds
    return Growth(
        growth=round(costs[-1].median / costs[base].median, 3),
        smallest=sizes[base],
        largest=sizes[-1],
        request_cpu_ms=round(request / 1_000, 1),
        first_to_last=round(last[-1] / last[0], 3),
    )
