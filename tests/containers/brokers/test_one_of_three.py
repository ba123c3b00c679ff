"""Profile `ha`: one broker of three dies during a Pukal of 500, and comes back; the rest goes on meanwhile."""

import os
import random

import pytest

from deploy.native.layout import BROKERS
from tests.faults.conftest import Pukal
from tests.support.containers import InContainers
from tests.support.waiting import eventually

pytestmark = [
    pytest.mark.containers,
    pytest.mark.timeout(600),
    pytest.mark.skipif(os.environ.get("GPKI_BROKERS") != "3", reason="a stack of its own: GPKI_BROKERS=3"),
]

SIGNED = "SELECT count(*) FROM hsm_signer.document WHERE request_id = $1 AND state = 'signed'"


@pytest.mark.parametrize("name", BROKERS)
async def test_nothing_is_lost_with_one_broker_of_three(containers: InContainers, pukal: Pukal, name: str) -> None:
    pukal.begin()
    await pukal.reaches(SIGNED, random.Random(name).choice(range(50, 300)))
    killed = containers.kill(name)
    await pukal.happened_once(mails=range(1, 3))
    await eventually(lambda: containers.pid(name) not in (0, killed), f"{name} was started again", seconds=60)
    await containers.ready(name)
