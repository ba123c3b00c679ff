"""Messages that the relay has and has not answered: they go on by themselves, so that one mailbox holds up no other."""

import asyncio
import time
from dataclasses import dataclass
from typing import Final

from libs.bus.outcomes import Unavailable
from services.otp_dispatch.relay import RELAY, Answer, Relay

PATIENCE: Final = 1.0
"""Seconds that the first asker waits for the answer; a relay that works takes some milliseconds."""

MOST: Final = 32
"""Messages under way at once, a connection each; when so many hang it is the relay that does not work."""


KEPT: Final = 60.0
"""Seconds that an answer is kept for who asks for it."""


@dataclass(frozen=True)
class UnderWay:
    """The relay has not answered yet: ask again."""


class Deliveries:
    """Hands messages to the relay, each by a task of its own. For one event loop; close it at the end."""

    def __init__(self, relay: Relay) -> None:
        self._relay = relay
        self._tasks: dict[str, asyncio.Task[Answer]] = {}
        self._ended: dict[str, float] = {}

    async def deliver(self, name: str, message: bytes, *, sender: str, recipient: str) -> Answer | UnderWay:
        """Give a message to the relay, or say what became of it; `name`, its Message-ID, tells one from another.

        Of one name there is one under way at a time. Raises Unavailable, also when too many are.
        """
        task = self._tasks.get(name)
        if task is None:
            self._forget()
            if len(self._tasks) - len(self._ended) >= MOST:
                raise Unavailable(RELAY)
            task = self._tasks[name] = asyncio.create_task(self._hand_over(name, message, sender, recipient))
            await asyncio.wait({task}, timeout=PATIENCE)
        if not task.done():
            return UnderWay()
        self._drop(name)
        return task.result()

    async def aclose(self) -> None:
        """Give up what is under way: it is sent again, with the same code."""
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)
        self._tasks.clear()

    async def _hand_over(self, name: str, message: bytes, sender: str, recipient: str) -> Answer:
        try:
            return await self._relay.deliver(message, sender=sender, recipient=recipient)
        finally:
            self._ended[name] = time.monotonic()

    def _forget(self) -> None:
        """What nobody asks for any more: a twin has claimed the record meanwhile."""
        for name, ended in list(self._ended.items()):
            if time.monotonic() - ended > KEPT:
                self._drop(name)

    def _drop(self, name: str) -> None:
        self._tasks.pop(name, None)
        self._ended.pop(name, None)
