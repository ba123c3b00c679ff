"""A consumer that no longer reaches its group, though the broker answers, ends the process: another one begins afresh.

aiokafka 0.14 was seen, after a broker's hard restart on a busy machine, to keep one consumer of a process waiting for
its group's coordinator for ever, without a word; every commit and every question about offsets of that consumer ran
into its bound. Two causes were found since and mended (`_updated` and `_sent` in libs/bus/connecting.py); this is for
what may be left of it. Nothing is lost by ending: what was not committed is read again, and known.
"""

import signal
from collections import Counter
from typing import Literal

from libs.bus.suspension import Probe
from libs.runtime import metrics

FAILURES = 4
"""In a row, the broker answering a probe after each. A commit's bound is 10 s, a question's 5; so many last longer than
aiokafka waits for a broker that took a question and does not answer, after which it goes on by itself."""

What = Literal["commit", "poll"]


def end_process() -> None:
    """Stop as at a signal; whoever watches over the process starts another."""
    signal.raise_signal(signal.SIGTERM)


class Reach:
    """Counts the failures of one consumer group's member. `probe` asks the broker by another connection."""

    def __init__(self, service: str, group: str, probe: Probe) -> None:
        self._service = service
        self._group = group
        self._probe = probe
        self._failures: Counter[What] = Counter()
        self.lost_place = False
        """Where the consumer stands is not what it has handled: a fetch failed half-way, or a commit did."""
        self.given_up = 0
        """How often partitions were given up. What was taken before is not committed any more, though its partition may
        have come back, and a twin gone further meanwhile: whoever has the partition now reads it again."""
        self.taken_after = 0
        """So many times they had been, when the batch at hand was taken."""

    def succeeded(self, what: What) -> None:
        """It went through."""
        self._failures[what] = 0

    async def failed(self, what: What) -> None:
        """It did not. Raises nothing but cancellation."""
        self.lost_place = True
        try:
            await self._probe()
        except Exception:  # noqa: BLE001 (whatever it is: the broker did not answer, and that is waited for)
            self._failures[what] = 0
            return
        self._failures[what] += 1
        if self._failures[what] == FAILURES:
            metrics.alarm(self._service, "group-out-of-reach", group=self._group, what=what)
            end_process()
