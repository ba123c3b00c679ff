"""Messages that the relay has and has not answered: they go on by themselves, so that one mailbox holds up no other."""

import asyncio
from dataclasses import dataclass
from typing import Final

from libs.bus.outcomes import Unavailable
from services.otp_dispatch.relay import RELAY, Answer, Relay

PATIENCE: Final = 1.0
"""Seconds that the first asker waits for the answer; a relay that works takes some milliseconds."""

MOST: Final = 32
"""Messages under way at once, a connection each; when so many hang it is the relay that does not work."""


@dataclass(frozen=True)
class UnderWay:
    """The relay has not answered yet: ask again."""


class Deliveries:
    """Hands messages to the relay, each by a task of its own. For one event loop; close it at the end."""

    def __init__(self, relay: Relay) -> None:
        self._relay = relay
        self._tasks: dict[str, asyncio.Task[Answer]] = {}

    async def deliver(self, name: str, message: bytes, *, sender: str, recipient: str) -> Answer | UnderWay:
        """Give a message to the relay, or say what became of it; `name`, its Message-ID, tells one from another.

        Of one name there is one under way at a time. Raises Unavailable, also when too many are.
        """
        task = self._tasks.get(name)
        if task is None:
            if len(self._tasks) >= MOST:
                self._forget_ended()
            if len(self._tasks) >= MOST:
                raise Unavailable(RELAY)
            coroutine = self._relay.deliver(message, sender=sender, recipient=recipient)
            task = self._tasks[name] = asyncio.create_task(coroutine)
            await asyncio.wait({task}, timeout=PATIENCE)
        if not task.done():
            return UnderWay()
        del self._tasks[name]
        return task.result()

    async def aclose(self) -> None:
        """Give up what is under way: it is sent again, with the same code."""
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)
        self._tasks.clear()

    def _forget_ended(self) -> None:
        """What a twin, which claimed the record meanwhile, asks for no more."""
        for name, task in list(self._tasks.items()):
            if task.done():
                del self._tasks[name]
