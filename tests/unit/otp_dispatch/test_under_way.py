"""A message that is under way is given to the relay once, its answer is kept for who asks, and there are not many."""

import asyncio

import pytest

from libs.bus.outcomes import Unavailable
from services.otp_dispatch import under_way
from services.otp_dispatch.relay import Answer, Delivered, Relay
from services.otp_dispatch.under_way import MOST, Deliveries, UnderWay


class SlowRelay(Relay):
    """Answers when it is told to."""

    def __init__(self) -> None:
        super().__init__(host="127.0.0.1", port=1, tls="when-offered")
        self.given: list[bytes] = []
        self.answers = asyncio.Event()

    async def deliver(self, message: bytes, *, sender: str, recipient: str) -> Answer:
        self.given.append(message)
        await self.answers.wait()
        return Delivered()


@pytest.fixture
def relay(monkeypatch: pytest.MonkeyPatch) -> SlowRelay:
    monkeypatch.setattr(under_way, "PATIENCE", 0.01)
    return SlowRelay()


async def ask(deliveries: Deliveries, name: str) -> Answer | UnderWay:
    return await deliveries.deliver(name, name.encode(), sender="a@b.example", recipient="c@d.example")


async def test_it_is_given_once_however_often_it_is_asked_for(relay: SlowRelay) -> None:
    deliveries = Deliveries(relay)
    assert [await ask(deliveries, "one") for _ in range(3)] == [UnderWay()] * 3
    relay.answers.set()
    await asyncio.wait(deliveries._tasks.values())
    assert await ask(deliveries, "one") == Delivered()
    assert relay.given == [b"one"]


async def test_an_answer_waits_for_who_asks_however_many_come_between(relay: SlowRelay) -> None:
    deliveries = Deliveries(relay)
    for number in range(MOST):
        await ask(deliveries, str(number))
    with pytest.raises(Unavailable):
        await ask(deliveries, "one too many")
    relay.answers.set()
    await asyncio.wait(deliveries._tasks.values())
    assert await ask(deliveries, "one more") == Delivered()
    assert [await ask(deliveries, str(number)) for number in range(MOST)] == [Delivered()] * MOST
    assert len(relay.given) == MOST + 1


async def test_what_nobody_asks_for_is_forgotten(relay: SlowRelay, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(under_way, "KEPT", -1.0)
    deliveries = Deliveries(relay)
    await ask(deliveries, "claimed by a twin")
    relay.answers.set()
    await asyncio.wait(deliveries._tasks.values())
    await ask(deliveries, "another")
    assert not deliveries._tasks
    assert not deliveries._ended


async def test_what_is_under_way_ends_with_the_process(relay: SlowRelay) -> None:
    deliveries = Deliveries(relay)
    await ask(deliveries, "one")
    (task,) = deliveries._tasks.values()
    await deliveries.aclose()
    assert task.cancelled()
