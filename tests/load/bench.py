"""`make bench`: the platform's speed beside the raw rate of its HSM, measured in the same run (design section 8).

On a stack of its own, made anew: var/bench-stack. Leaves var/bench/results.json.
"""

import asyncio
import json
import math
import os
import shutil
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import psutil
import uvloop

from deploy.native import programs
from deploy.native.failures import StackError
from deploy.native.layout import CHECKOUT, SERVICES, Layout, open_layout
from deploy.native.supervisor import Supervisor
from libs.contracts import topics
from services.igfmas.demo.stack import running_stack
from services.igfmas.enrolment import Officer
from tests.support.chain import Client, connected, papers
from tests.support.stack import Stack

STATE = CHECKOUT / "var" / "bench-stack"
RESULTS = CHECKOUT / "var" / "bench" / "results.json"

PUKAL, SINGLES, ROUNDS = 1_000, 200, 3
WARM_UP = 20
RAW_SECONDS = 3.0
SAMPLE_SECONDS = 0.2
MEBIBYTE = 1_048_576


@dataclass(frozen=True)
class Results:
    """What one run measured; rates are medians of ROUNDS, memory is the most that was seen of each service."""

    raw_hsm_per_s: float
    """python-pkcs11 alone, one process, RSA-2048; measured before and after each Pukal, with the stack idle."""
    pukal_per_s: float
    """Documents per second, `requested` to the last `posted`, by the broker's clock; the officer answers at once."""
    ratio: float
    single_p50_ms: float
    """One document at a time, `authorisation-submitted` to `posted`, by the broker's clock."""
    single_p99_ms: float
    rss_mb: dict[str, float]
    pukal_rounds: list[float]
    raw_rounds: list[float]
    cpus: int
    load_before: float
    """The machine's load average when the run began: above 0.5, the figures are somebody else's too."""


class Memory:
    """Samples the resident memory of every service while entered."""

    def __init__(self, layout: Layout) -> None:
        states = Supervisor(layout).states()
        self._processes = {name: psutil.Process(int(states[name]["pid"])) for name in SERVICES}
        self.peak = dict.fromkeys(SERVICES, 0.0)

    async def sample(self) -> None:
        """Until cancelled."""
        while True:
            for name, process in self._processes.items():
                self.peak[name] = max(self.peak[name], process.memory_info().rss / MEBIBYTE)
            await asyncio.sleep(SAMPLE_SECONDS)


def say(text: str) -> None:
    """A line of progress; results go to the file."""
    sys.stderr.write(f"{time.strftime('%H:%M:%S')}  {text}\n")


async def raw_rate() -> float:
    """Signatures per second, in a process of its own."""
    command = [sys.executable, "-m", "tests.load.raw_hsm", str(programs.pkcs11_module()), str(RAW_SECONDS)]
    process = await asyncio.create_subprocess_exec(*command, cwd=CHECKOUT, stdout=asyncio.subprocess.PIPE)
    told, _ = await process.communicate()
    if process.returncode:
        raise StackError("the raw HSM rate could not be measured", "read what it said above")
    return float(told)


async def pukal(client: Client, officer: Officer, count: int) -> float:
    """Documents per second of one Pukal."""
    request = await client.press(officer, papers(count))
    ended = await request.sign()
    assert len(ended.posted) == count, ended.rejected
    assert request.seen.requested_at is not None
    posted = [document.posted_at for document in request.seen.documents.values() if document.posted_at is not None]
    return count / ((max(posted) - request.seen.requested_at) / 1_000)


async def single(client: Client, officer: Officer) -> float:
    """Milliseconds from `authorisation-submitted` to `posted`."""
    request = await client.press(officer, papers(1))
    await request.sign()
    (document,) = request.seen.documents.values()
    assert document.posted_at is not None, request.seen.rejections
    return document.posted_at - request.seen.submitted_at[0]


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least this share does not exceed."""
    return sorted(values)[max(math.ceil(share * len(values)) - 1, 0)]


async def measure(client: Client, layout: Layout, load_before: float) -> Results:
    """Warm up, then a Pukal per round between two looks at the raw rate, then the singles."""
    officer = await client.enrol()
    say(f"warm-up: {WARM_UP} documents singly, one Pukal of {PUKAL}")
    for _ in range(WARM_UP):
        await single(client, officer)
    await pukal(client, officer, PUKAL)
    memory = Memory(layout)
    sampling = asyncio.create_task(memory.sample())
    raws, rates = [await raw_rate()], []
    for number in range(ROUNDS):
        rates.append(await pukal(client, officer, PUKAL))
        raws.append(await raw_rate())
        say(f"round {number + 1} of {ROUNDS}: Pukal {rates[-1]:.0f}/s, raw HSM {raws[-1]:.0f}/s")
    singles = []
    for number in range(SINGLES):
        singles.append(await single(client, officer))
        if (number + 1) % 50 == 0:
            say(f"singly: {number + 1} of {SINGLES}")
    sampling.cancel()
    raw, rate = statistics.median(raws), statistics.median(rates)
    return Results(
        raw_hsm_per_s=round(raw, 1),
        pukal_per_s=round(rate, 1),
        ratio=round(rate / raw, 3),
        single_p50_ms=percentile(singles, 0.5),
        single_p99_ms=percentile(singles, 0.99),
        rss_mb={name: round(peak, 1) for name, peak in memory.peak.items()},
        pukal_rounds=[round(one, 1) for one in rates],
        raw_rounds=[round(one, 1) for one in raws],
        cpus=os.cpu_count() or 0,
        load_before=round(load_before, 2),
    )


async def bench() -> Results:
    """One run on a stack of its own, from nothing: what was signed before must not count."""
    load_before = os.getloadavg()[0]
    if load_before > 0.5 * (os.cpu_count() or 1):
        say(f"the machine is busy (load {load_before:.1f}): the figures will be worse than they are")
    shutil.rmtree(STATE, ignore_errors=True)
    layout = open_layout(STATE)
    async with running_stack(layout, say), connected(Stack(layout), (topics.POSTED,)) as client:
        return await measure(client, layout, load_before)


def main() -> int:
    """Measure, write, print."""
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            found = runner.run(bench())
    except StackError as error:
        say(f"error: {error}")
        return 1
    except KeyboardInterrupt:
        say("interrupted")
        return 130
    text = json.dumps(asdict(found), indent=2) + "\n"
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    RESULTS.write_text(text)
    sys.stdout.write(f"{text}{RESULTS}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
