"""Says what of the stack runs, whether it answers, and where."""

import asyncio
import time

import psutil

from deploy.native import parts
from deploy.native.layout import Layout
from deploy.native.lifecycle import NOT_READY, Say
from deploy.native.parts import Part
from deploy.native.ports import HOST
from deploy.native.supervisor import Supervisor

PROBE_SECONDS = 5
STOPPED = 3
"""Exit status when nothing runs, as `systemctl status` has it."""


def addresses(layout: Layout) -> str:
    """Return where the parts listen; no secret among it."""
    port = layout.ports
    lines = (
        ("Kafka", f"{HOST}:{port['kafka']}"),
        ("PostgreSQL", f"{HOST}:{port['postgres']}, passwords in {layout.state / 'secrets'}"),
        ("SMTP sink", f"{HOST}:{port['smtp']}, messages in {layout.mail}"),
        ("GPKI API", f"https://{HOST}:{port['gateway']}"),
        ("CRLs", f"http://{HOST}:{port['crl']}"),
        ("daily files", str(layout.daily_files)),
        ("logs", str(layout.state / "log")),
    )
    return "\n".join(f"  {name:<12}{where}" for name, where in lines)


async def show(layout: Layout, say: Say) -> int:
    """Print one line per part; 0 if all that was started answers, 1 if some does not, STOPPED if nothing runs."""
    supervisor = Supervisor(layout)
    if supervisor.pid() is None:
        say("the stack is not running; `make up` starts it")
        return STOPPED
    states = supervisor.states()
    every = [*parts.infrastructure(layout), *parts.services(layout)]
    started = [part for part in every if states.get(part.name, {}).get("statename", "STOPPED") != "STOPPED"]
    answers = await asyncio.gather(*(_answers(part) for part in started))
    for part, trouble in zip(started, answers, strict=True):
        say(f"  {part.name:<22}{_line(states[part.name])}  {trouble or 'ready'}")
    say(addresses(layout))
    return 1 if any(answers) else 0


def _line(info: dict[str, object]) -> str:
    pid = int(str(info["pid"]))
    if not pid:
        return f"{info['statename']:<10}"
    try:
        memory = psutil.Process(pid).memory_info().rss // 1_048_576
    except psutil.NoSuchProcess:
        memory = 0
    up = int(time.time()) - int(str(info["start"]))
    return f"{info['statename']:<10}pid {pid:<8}{up:>6} s {memory:>5} MiB"


async def _answers(part: Part) -> str | None:
    try:
        async with asyncio.timeout(PROBE_SECONDS):
            await part.probe()
    except NOT_READY as error:
        return f"NOT READY ({type(error).__name__})"
    return None
