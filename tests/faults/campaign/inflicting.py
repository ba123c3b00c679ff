"""The faults: each is done to a stack under load and returns when the part is back, from when recovery counts."""

import asyncio
import contextlib
import json
import random
import shutil
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Final

import psutil
from aiokafka import AIOKafkaProducer

from deploy.native import lifecycle
from deploy.native.layout import SERVICES
from deploy.native.supervisor import Supervisor
from libs.contracts import topics
from tests.faults.campaign.retention import retention_passes
from tests.support import faults
from tests.support.chain import Client
from tests.support.faults import members, replaced, twin

AWAY: Final = 15.0
"""Seconds that a part is away."""
FROZEN: Final = 20.0
KILLS: Final = 3
INFRASTRUCTURE: Final = ("kafka", "postgres")
LISTENING: Final = ("gateway", "certificate_authority")

Inflict = Callable[[Client, random.Random], Awaitable[None]]


def killed(part: str, times: int) -> Inflict:
    """kill -9, at seeded moments."""

    async def inflict(client: Client, seeded: random.Random) -> None:
        for _ in range(times):
            await asyncio.sleep(seeded.uniform(0.3, 2.0))
            pid = client.stack.kill(part)
            await replaced(client.stack, part, pid)

    return inflict


def frozen(part: str) -> Inflict:
    """SIGSTOP, the whole family of the part, for FROZEN seconds."""

    async def inflict(client: Client, seeded: random.Random) -> None:
        await asyncio.sleep(seeded.uniform(0.3, 1.5))
        head = psutil.Process(client.stack.pid(part))
        with contextlib.ExitStack() as ice:
            for process in (head, *head.children(recursive=True)):
                ice.enter_context(faults.frozen(process.pid))
            await asyncio.sleep(FROZEN)

    return inflict


async def postgres_refuses(client: Client, seeded: random.Random) -> None:
    """No service gets a connection, and those that it had are ended."""
    await asyncio.sleep(seeded.uniform(0.3, 1.5))
    async with client.database.acquire() as connection:
        for service in SERVICES:
            await connection.execute(f"ALTER ROLE {service} CONNECTION LIMIT 0")
        try:
            await connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = ANY ($1)", list(SERVICES)
            )
            await asyncio.sleep(AWAY)
        finally:
            for service in SERVICES:
                await connection.execute(f"ALTER ROLE {service} CONNECTION LIMIT -1")


async def hsm_away(client: Client, seeded: random.Random) -> None:
    """The users' token is not where the module looks for it."""
    await asyncio.sleep(seeded.uniform(0.3, 1.5))
    tokens = client.stack.layout.hsm("users") / "tokens"
    away = tokens.rename(tokens.with_name("tokens.away"))
    try:
        await asyncio.sleep(AWAY)
    finally:
        if tokens.exists():  # made anew by who found none
            shutil.rmtree(tokens)
        away.rename(tokens)


async def smtp_down(client: Client, seeded: random.Random) -> None:
    """Nobody listens where the relay was."""
    await asyncio.sleep(seeded.uniform(0.3, 1.5))
    supervisor = Supervisor(client.stack.layout)
    await asyncio.to_thread(supervisor.stop, "smtp")
    await asyncio.sleep(AWAY)
    await asyncio.to_thread(supervisor.start, "smtp")
    await client.stack.ready("smtp")


def relay_answers(rule: Mapping[str, object], *, lasting: float, mailbox: str = "*") -> Inflict:
    """The relay treats every mailbox, or one officer's, by this rule for so long."""

    async def inflict(client: Client, seeded: random.Random) -> None:
        await asyncio.sleep(seeded.uniform(0.3, 1.5))
        file = client.stack.layout.mail_rules
        file.write_text(json.dumps({mailbox: dict(rule)}))
        try:
            await asyncio.sleep(lasting)
        finally:
            file.unlink()

    return inflict


async def rolling_restart(client: Client, seeded: random.Random) -> None:
    """Each service in turn: a second replica comes, the first goes and is replaced, the second goes.

    Those that listen on a port of this stack cannot have a second one here: they are restarted.
    """
    for service in seeded.sample(SERVICES, len(SERVICES)):
        if service in LISTENING:
            await lifecycle.restart(client.stack.layout, service)
            continue
        async with twin(client.stack, service):
            await members(client.stack, service, 2)
            await lifecycle.restart(client.stack.layout, service)
        await members(client.stack, service, 1)


async def rebalance_storm(client: Client, seeded: random.Random) -> None:
    """Replicas of the services of documents join and leave every 5 s."""
    for _ in range(4):
        async with contextlib.AsyncExitStack() as twins:
            for service in ("hsm_signer", "crl_verifier", "posting"):
                await twins.enter_async_context(twin(client.stack, service))
            await asyncio.sleep(seeded.uniform(4.0, 6.0))


async def poison_everywhere(client: Client, seeded: random.Random) -> None:
    """On every topic of the chain a record that nobody can read, and one whose header is not UTF-8."""
    await asyncio.sleep(seeded.uniform(0.3, 1.5))
    producer = AIOKafkaProducer(bootstrap_servers=client.stack.kafka)
    await producer.start()
    try:
        for topic in topics.TOPICS.values():
            if topic.name.startswith("gpki.signing."):
                await producer.send_and_wait(topic.name, b"\xff\xfe no event", key=b"poison")
                await producer.send_and_wait(topic.name, b"{}", key=b"poison", headers=[("ce_id", b"\xff\xfe\xfd")])
    finally:
        await producer.stop()


@dataclass(frozen=True)
class Fault:
    """One fault; `refuses` are the reasons for which it may have documents rejected."""

    name: str
    inflict: Inflict
    refuses: frozenset[str] = frozenset()


FAULTS: Final = {
    fault.name: fault
    for fault in (
        *(Fault(f"kill-{part}", killed(part, KILLS)) for part in (*SERVICES, *INFRASTRUCTURE)),
        *(Fault(f"freeze-{part}", frozen(part)) for part in (*SERVICES, *INFRASTRUCTURE)),
        Fault("postgres-refuses", postgres_refuses),
        Fault("hsm-away", hsm_away),
        Fault("smtp-down", smtp_down),
        Fault("smtp-slow", relay_answers({"seconds": 8.0}, lasting=20.0)),
        Fault("smtp-4xx", relay_answers({"data": "451 4.3.0 Try later"}, lasting=AWAY)),
        Fault("smtp-5xx", relay_answers({"data": "554 5.7.1 Refused"}, lasting=5.0), frozenset({"otp-undeliverable"})),
        Fault("rolling-restart", rolling_restart),
        Fault("rebalance-storm", rebalance_storm),
        Fault("poison", poison_everywhere),
        Fault("retention", retention_passes),
    )
}
