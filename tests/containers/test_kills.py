"""Whichever container dies during a Pukal of 500: it comes back, 500 are posted, none is lost, none comes twice."""

import os
import random

import pytest

from deploy.native.layout import SERVICES
from tests.faults.conftest import Pukal
from tests.support.containers import InContainers
from tests.support.documents import SIGNED
from tests.support.waiting import eventually

pytestmark = [
    pytest.mark.containers,
    pytest.mark.timeout(600),
    pytest.mark.skipif(os.geteuid() != 0, reason="only root may kill a process of another account"),
]


PARTS = ("postgres", "kafka", "smtp", *SERVICES)


def test_every_container_that_runs_is_killed(containers: InContainers) -> None:
    """But `prepare` and `init`, which have ended, and the operator's command line, which is there while it is used."""
    assert sorted(name for name, pid in containers.pids().items() if pid) == sorted(PARTS)


@pytest.mark.parametrize("part", PARTS)
async def test_a_container_killed_in_the_middle_comes_back_and_nothing_is_lost(
    containers: InContainers, pukal: Pukal, part: str
) -> None:
    pukal.begin()
    await pukal.reaches(SIGNED, random.Random(part).choice(range(50, 300)))
    killed = containers.kill(part)
    await eventually(lambda: containers.pid(part) not in (0, killed), f"{part} was started again", seconds=60)
    await containers.ready(part)
    await pukal.happened_once(mails=range(1, 3))
