"""What is measured: Pukals and single documents, by the broker's clock; each is forgotten once it was seen to end."""

import asyncio
import math
from collections.abc import Sequence
from dataclasses import dataclass

from services.igfmas.enrolment import Officer
from tests.support.chain import Client, Request, papers


@dataclass(frozen=True)
class Window:
    """From `requested` to the last `posted`, milliseconds since 1970 by the broker's clock."""

    began: int
    ended: int
    documents: int

    @property
    def per_s(self) -> float:
        """Documents per second."""
        return 1_000 * self.documents / max(self.ended - self.began, 1)


async def pukal(client: Client, officer: Officer, count: int) -> Window:
    """One request of so many documents; the officer answers at once."""
    request = await client.press(officer, papers(count))
    ended = await request.sign()
    assert len(ended.posted) == count, ended.rejected
    assert request.seen.requested_at is not None
    posted = [document.posted_at for document in request.seen.documents.values() if document.posted_at is not None]
    _forget(request)
    return Window(request.seen.requested_at, max(posted), count)


async def one_after_another(client: Client, officer: Officer, count: int, times: int) -> Window:
    """Pukals in sequence, as one window of which the officer's pauses are a part."""
    windows = [await pukal(client, officer, count) for _ in range(times)]
    return Window(windows[0].began, windows[-1].ended, count * times)


async def side_by_side(client: Client, officers: Sequence[Officer], count: int) -> Window:
    """A Pukal of each officer at the same time."""
    windows = await asyncio.gather(*(pukal(client, officer, count) for officer in officers))
    return Window(min(one.began for one in windows), max(one.ended for one in windows), count * len(officers))


async def single(client: Client, officer: Officer) -> float:
    """Milliseconds from `authorisation-submitted` to `posted`, of one document."""
    request = await client.press(officer, papers(1))
    await request.sign()
    (document,) = request.seen.documents.values()
    assert document.posted_at is not None, request.seen.rejections
    _forget(request)
    return document.posted_at - request.seen.submitted_at[0]


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least this share does not exceed."""
    return sorted(values)[max(math.ceil(share * len(values)) - 1, 0)]


def _forget(request: Request) -> None:
    """What is remembered of a hundred thousand documents would be the client's cost, not the platform's."""
    del request.client.chain.observation.requests[request.id]
