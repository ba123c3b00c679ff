"""What a gateway holds while its broker is silent."""

import asyncio
from collections.abc import Sequence
from typing import Any, cast

import pytest

from libs.bus.outcomes import Unavailable
from libs.bus.signing import unsigned
from libs.contracts.cloudevents import Record
from libs.runtime.clock import utc_now
from services.gateway import promises
from services.gateway.promises import MAX_PUBLISHING, Promises


class SilentBroker:
    """As a publisher before a broker that takes connections and says nothing: it goes on trying."""

    def __init__(self) -> None:
        self.held = 0
        self.answers = asyncio.Event()

    async def publish(self, _records: Sequence[Record]) -> None:
        self.held += 1
        try:
            await self.answers.wait()
        finally:
            self.held -= 1


async def test_publishes_that_nobody_waits_for_any_more_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Their calls were answered 503 and came again; each keeps its records until the broker answers."""
    monkeypatch.setattr(promises, "PUBLISH_WAIT", 0.01)
    broker = SilentBroker()
    kept = Promises(
        service="gateway", pool=cast("Any", None), publisher=cast("Any", broker), clock=utc_now, sign=unsigned
    )
    for _ in range(3):
        answers = await asyncio.gather(*(kept._publish([]) for _ in range(MAX_PUBLISHING)), return_exceptions=True)
        assert {type(answer) for answer in answers} == {Unavailable}
    assert broker.held == MAX_PUBLISHING
    broker.answers.set()
    await asyncio.sleep(0)
    monkeypatch.setattr(promises, "PUBLISH_WAIT", 10.0)
    await asyncio.gather(*(kept._publish([]) for _ in range(3 * MAX_PUBLISHING)))
    assert broker.held == 0
