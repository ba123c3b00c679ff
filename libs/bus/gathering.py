"""How batches grow in a stream of documents, of which many cost little more than few, and when no more are to come."""

import time
from collections import Counter, OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from libs.contracts.base import Event
from libs.contracts.signing import Signed
from libs.contracts.token_route import TokenSigned

SILENCE = 1.0
"""Seconds after which the rest of a request is not waited for: a twin has it, or it is not signed."""

REQUESTS = 256
"""Requests whose documents are counted at once; of more, the one that was silent longest is not waited for."""


@dataclass(frozen=True)
class Gathering:
    """How a batch may grow.

    The next waits for `seconds` after one with a number of records in `after`: fewer are a document or two by
    themselves, which nothing may hold up, and while more were handled enough has come.
    """

    seconds: float
    after: range = range(5, 100)


SLICES_FOLLOW: Final = Gathering(0.3, after=range(1, 100))
"""Of `progressed`: each record tells of a slice of documents, others follow at once, and nobody waits for it."""


class Outstanding:
    """Documents that are yet to come of the requests that began to come here. What is counted decides nothing."""

    def __init__(self) -> None:
        self._left: OrderedDict[UUID, tuple[int, float]] = OrderedDict()

    def came(self, events: Iterable[Event]) -> None:
        """Count those that are documents; who counts again what came twice waits for less, or for nothing."""
        documents = [event for event in events if isinstance(event, Signed | TokenSigned)]
        totals = {event.request_id: event.header.documents for event in documents}
        for request_id, came in Counter(event.request_id for event in documents).items():
            before, _ = self._left.pop(request_id, (totals[request_id], 0.0))
            if before > came:
                self._left[request_id] = before - came, time.monotonic()
        while len(self._left) > REQUESTS:
            self._left.popitem(last=False)

    def count(self) -> int:
        """How many; 0 also says that nothing is known."""
        now = time.monotonic()
        while self._left and now - next(iter(self._left.values()))[1] > SILENCE:
            self._left.popitem(last=False)
        return sum(left for left, _ in self._left.values())
