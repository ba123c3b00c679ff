"""A consumer's stop must end the consumer, and nobody else.

aiokafka 0.14 awaits the fetches that it has cancelled itself; one that was resting after a failure ends as cancelled,
and `stop()` raises CancelledError into a task that nobody cancelled, its connections left open. A service that waits
for its state topics would then never become ready. And a start that is cancelled, or takes too long, forgets the
connection over which it had asked for metadata, without closing it. tests/contract holds both faults and the defences.
"""

import asyncio

from aiokafka.conn import AIOKafkaConnection
from aiokafka.consumer.fetcher import Fetcher

_close = Fetcher.close
_forgotten = AIOKafkaConnection.__del__


async def _close_quietly(fetcher: Fetcher) -> None:
    fetcher._fetch_task.cancel()  # noqa: SLF001 (it makes the fetches)
    await asyncio.wait({fetcher._fetch_task})  # noqa: SLF001 (as above)
    fetches = set(fetcher._pending_tasks)  # noqa: SLF001 (what aiokafka would await one by one)
    for fetch in fetches:
        fetch.cancel()
    await asyncio.gather(*fetches, return_exceptions=True)
    fetcher._pending_tasks.clear()  # noqa: SLF001 (as above)
    await _close(fetcher)


def _close_forgotten(connection: AIOKafkaConnection) -> None:
    # Without a warning: whoever forgets a consumer or a producer of ours still gets that one's.
    if connection.connected() and not connection._loop.is_closed():  # noqa: SLF001 (as aiokafka's own does)
        connection._on_close_cb = None  # noqa: SLF001 (as above)
        connection.close()


def install() -> None:
    """Make every consumer of this process stop so. Safe to call again."""
    Fetcher.close = _close_quietly
    AIOKafkaConnection.__del__ = _close_forgotten
