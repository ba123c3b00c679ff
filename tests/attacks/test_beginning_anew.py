"""Who rewrites the log while its witness is away has the witness begin anew, and so be signed: it refuses the fork.

The same command has it go on upon the true log. That the fork is signed where its proof is not asked for is shown in
tests/integration/monitor/test_beginning.py.
"""

import asyncio
import os
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

from deploy.native.parts import operator_environment, service_environment
from libs.bus.state import caught_up
from libs.contracts import topics
from tests.attacks.signing_log import SECONDS, Victim, alarms, victim
from tests.attacks.test_receipts import receipt
from tests.attacks.test_signing_log import CHANGED, RELOGGED
from tests.support.chain import client, officers, papers
from tests.support.command_line import gpki
from tests.support.journal import history
from tests.support.retention import halted, nobody_stands_still_afterwards, pass_by, put_right, stop
from tests.support.waiting import eventually

__all__ = ["client", "nobody_stands_still_afterwards", "officers", "victim"]

pytestmark = [pytest.mark.stack, pytest.mark.timeout(600)]


async def begin(stack: Any, proof: Path, reason: str) -> tuple[int, str]:
    """On monitor's host: exit code, and what it complained of."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "services.monitor.begin", str(proof), reason),
        cwd=stack.layout.checkout,
        env=os.environ | service_environment(stack.layout, "monitor") | {"GPKI_HEALTH_PORT": "0"},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, said.decode()


async def proof_of(stack: Any, file: Path) -> Path:
    status, _, why = await gpki(
        stack, "checkpoint", "--out", str(file), more=operator_environment(stack.layout, "auditor")
    )
    assert (status, why) == (0, "")
    return file


async def test_a_fork_is_not_healed_by_beginning_anew_and_the_true_log_is(victim: Victim, tmp_path: Path) -> None:
    """I-56, I-43: the whole log is rewritten and signed by posting's own HSM while the witness stands still."""
    stack, place = victim.client.stack, victim.positions[2]
    gaps, begun = len(alarms(stack, "witness-gap")), len(alarms(stack, "witness-begun"))
    assert (await begin(stack, await proof_of(stack, tmp_path / "early"), "impatient"))[0] == 78
    async with asyncio.timeout(SECONDS):  # Pukals of other tests may be before it still
        await caught_up(stack.kafka, "monitor", [topics.POSTED])
    await stop(stack, "monitor")
    size = await victim.client.value("SELECT max(size) FROM monitor.countersigned")
    missed = await victim.client.press(victim.asked.officer, papers(1))
    assert len((await missed.sign()).posted) == 1
    query = "SELECT max(size) > $1 FROM posting.checkpoint"
    await eventually(lambda: victim.client.value(query, size), "posting goes on", seconds=SECONDS, every=1)
    assert await pass_by(victim.client, "monitor", frozenset({topics.POSTED.name})) == 1
    await halted(stack, "monitor")
    await eventually(lambda: len(alarms(stack, "witness-gap")) > gaps, "it says so", seconds=SECONDS, every=1)

    checkpoints = len(await history(stack, topics.LOG_CHECKPOINT))
    async with victim.touched():
        await victim.do(CHANGED, place)
        await victim.do(RELOGGED, place)
        await victim.do("TRUNCATE posting.log_node, posting.checkpoint")
        stack.kill("posting", signal.SIGCONT)

        async def signed() -> bool:
            return len(await history(stack, topics.LOG_CHECKPOINT)) > checkpoints

        await eventually(signed, "posting signs what its database says", seconds=SECONDS, every=1)
        await victim.freeze()
        status, why = await begin(stack, await proof_of(stack, tmp_path / "fork"), "all is well, go on")
    assert status == 78
    assert "IT IS A FORK" in why
    assert await victim.client.value("SELECT max(size) FROM monitor.countersigned") == size
    assert await victim.client.value("SELECT count(*) FROM monitor.witness_beginning") == begun

    status, why = await begin(stack, await proof_of(stack, tmp_path / "true"), "posted was deleted, case 17")
    assert status == 0, why
    await eventually(lambda: len(alarms(stack, "witness-begun")) > begun, "it is told", seconds=SECONDS, every=1)
    assert "case 17" in alarms(stack, "witness-begun")[-1]["why"]
    later = await victim.client.press(victim.asked.officer, papers(1))
    await later.sign()
    seen = later.seen.documents[later.papers[0].entry.id].posted
    assert seen is not None
    await victim.client.chain.wait(lambda: victim.client.chain.log.covers(seen), "countersigned", seconds=SECONDS)
    for number, request in enumerate((missed, later)):
        assert (await receipt(victim, str(request.id), "--out", str(tmp_path / f"out{number}")))[0] == 0
    await put_right(stack, "monitor")  # its other reader asks to be told again, too
    assert await victim.audit() == (0, {})
    _, told, _ = await gpki(stack, "audit", more=operator_environment(stack.layout, "auditor"))
    (untold,) = [line for line in told.splitlines() if line.startswith(f"untold        positions {size} to ")]
    assert "case 17" in untold
