"""Whether a document costs more where there are more of them, and what a request costs by itself."""

from collections.abc import Sequence
from dataclasses import dataclass

from tests.load.yardstick import Spread


@dataclass(frozen=True)
class Growth:
    """`growth`: the cost of a document at the largest size, divided by that at `base`, one Pukal."""

    growth: float
    from_longest: float
    """The same by that in the longest request, of whose cost next to nothing is its request's own."""
    base: int
    largest: int
    request_cpu_ms: float
    """What a request costs by itself: PIN, code, mail, status, and all that is done once for it."""
    first_to_last: float
    """Among the rounds of the largest size: the last divided by the first."""

    def as_json(self) -> dict[str, object]:
        """For the results, with what it means."""
        return {
            "request_cpu_ms": self.request_cpu_ms,
            "growth_is": f"cost of a document at {self.largest:,} divided by that at {self.base:,}",
            "first_to_last_of_sequence": self.first_to_last,
        }


def growth_of(sizes: Sequence[int], costs: Sequence[Spread], base: int, longest: int) -> Growth:
    """From the cost of a document by size, ascending; `base` and `longest` are two of them.

    The smallest size is one request; so is the second. Of two requests of n and m documents the difference is the price
    of m - n documents, and what is left of the smaller one is the request's own.
    """
    each = {size: cost.median for size, cost in zip(sizes, costs, strict=True)}
    few, more, *_ = sizes
    document = (each[more] * more - each[few] * few) / (more - few)
    request = max((each[few] - document) * few, 0.0)
    last = costs[-1].rounds
    return Growth(
        growth=each[sizes[-1]] / each[base],
        from_longest=each[sizes[-1]] / each[longest],
        base=base,
        largest=sizes[-1],
        request_cpu_ms=round(request / 1_000, 1),
        first_to_last=round(last[-1] / last[0], 3),
    )
