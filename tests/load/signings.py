"""What is measured: Pukals and single documents, by the broker's clock; each is forgotten once it was seen to end.

The end is `completed`, which posting publishes with the last `posted`: it is what iGFMAS waits for, and who reads a
thousand other events to see the same moment takes CPU from the platform.
"""

import asyncio
import math
from collections.abc import Sequence
from dataclasses import dataclass

from services.igfmas.enrolment import Officer
from tests.support.chain import Client, Request, papers


@dataclass(frozen=True)
class Window:
    """From `requested` to `completed`, milliseconds since 1970 by the broker's clock."""

    began: int
    ended: int
    documents: int

    @property
    def per_s(self) -> float:
        """Documents per second."""
        return 1_000 * self.documents / max(self.ended - self.began, 1)


async def pukal(client: Client, officer: Officer, count: int) -> Window:
    """One request of so many documents; the officer answers at once."""
    request = await _signed(client, officer, count)
    began, ended = request.seen.requested_at, request.seen.completed_at
    assert began is not None
    assert ended is not None
    return Window(began, ended, count)


async def one_after_another(client: Client, officer: Officer, count: int, times: int) -> Window:
    """Pukals in sequence, as one window of which the officer's pauses are a part."""
    windows = [await pukal(client, officer, count) for _ in range(times)]
    return Window(windows[0].began, windows[-1].ended, count * times)


async def side_by_side(client: Client, officers: Sequence[Officer], count: int) -> Window:
    """A Pukal of each officer at the same time."""
    windows = await asyncio.gather(*(pukal(client, officer, count) for officer in officers))
    return Window(min(one.began for one in windows), max(one.ended for one in windows), count * len(officers))


async def single(client: Client, officer: Officer) -> float:
    """Milliseconds from `authorisation-submitted` to the end, of one document."""
    request = await _signed(client, officer, 1)
    assert request.seen.completed_at is not None
    return request.seen.completed_at - request.seen.submitted_at[0]


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least this share does not exceed."""
    return sorted(values)[max(math.ceil(share * len(values)) - 1, 0)]


async def _signed(client: Client, officer: Officer, count: int) -> Request:
    """Everything posted. Forgotten: to remember a hundred thousand documents is no cost of the platform."""
    request = await client.press(officer, papers(count))
    await request.authorise(otp=await request.otp())
    await request.until(lambda: request.seen.ended is not None, "the end of the request")
    ended = request.seen.ended
    assert ended is not None
    assert len(ended.posted) == count, ended.rejected
    del client.chain.observation.requests[request.id]
    return request
