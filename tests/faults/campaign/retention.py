"""The fault `retention`: what services had not read was deleted while they were away, and their operator repairs it."""

import random
from typing import Final

from tests.support.chain import Client
from tests.support.retention import halted, pass_by, put_right, stop

READERS: Final = ("otp_dispatch", "hsm_signer", "crl_verifier", "posting", "gateway")
"""They read what our own ledgers have; what outsiders wrote they send again: tests/faults/test_retention.py."""


async def retention_passes(client: Client, seeded: random.Random) -> None:
    """Each reader in turn: stopped under load, passed, started, found standing before the gap, and put right."""
    for service in seeded.sample(READERS, len(READERS)):
        await stop(client.stack, service)
        await pass_by(client, service)
        await halted(client.stack, service)
        await put_right(client.stack, service)
