"""The operator's command line inside, as docs/runbook.md calls it."""

import asyncio

import pytest

from deploy.native.layout import SERVICES
from tests.containers.test_up_again import JOBS
from tests.e2e.test_operations import findings
from tests.support.containers import InContainers, service_of

pytestmark = [pytest.mark.containers, pytest.mark.timeout(300)]


async def test_it_asks_every_part_and_finds_all_well(containers: InContainers) -> None:
    for one in containers.every():
        if service_of(one) not in JOBS:
            await containers.ready(service_of(one))
    told = await asyncio.to_thread(containers.containers.compose, "run", "--rm", "operator", "doctor")
    found = findings(told)
    assert set(found) > {"Kafka", "PostgreSQL", "HSM", "SMTP", *SERVICES}
    assert set(found.values()) == {"ok"}, told
