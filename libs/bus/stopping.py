"""A consumer's stop must end the consumer, and nobody else.

aiokafka 0.14 awaits the fetches that it has cancelled itself; one that was resting after a failure ends as cancelled,
and `stop()` raises CancelledError into a task that nobody cancelled, its connections left open. A service that waits
for its state topics would then never become ready. tests/contract holds both, the fault and this defence.
"""

import asyncio

from aiokafka.consumer.fetcher import Fetcher

_close = Fetcher.close


async def _close_quietly(fetcher: Fetcher) -> None:
    fetcher._fetch_task.cancel()  # noqa: SLF001 (it makes the fetches)
    await asyncio.wait({fetcher._fetch_task})  # noqa: SLF001 (as above)
    fetches = set(fetcher._pending_tasks)  # noqa: SLF001 (what aiokafka would await one by one)
    for fetch in fetches:
        fetch.cancel()
    await asyncio.gather(*fetches, return_exceptions=True)
    fetcher._pending_tasks.clear()  # noqa: SLF001 (as above)
    await _close(fetcher)


def install() -> None:
    """Make every consumer of this process stop so. Safe to call again."""
    Fetcher.close = _close_quietly
