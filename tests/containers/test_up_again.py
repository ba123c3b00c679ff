"""`up` beside a stack that runs: the two jobs run again and change nothing, and no other container is touched."""

import asyncio

import pytest

from deploy.native.layout import SERVICES
from tests.support.containers import InContainers, service_of

pytestmark = [pytest.mark.containers, pytest.mark.timeout(300)]

JOBS = {"prepare", "init"}
MADE_ANEW = ("token.object", "gateway_tls")
"""The one at every log-in to the token; the other at every `up`, for the gateway's next start."""

KEPT = f"find /state/secrets /state/pki /state/hsm -type f ! -name {' ! -name '.join(MADE_ANEW)} -exec sha256sum {{}} +"
"""What a service has: secrets, its token's objects, what it trusts."""


def started(containers: InContainers) -> dict[str, str]:
    return {service_of(one): one.attrs["State"]["StartedAt"] for one in containers.every()}


def kept(containers: InContainers) -> dict[str, str]:
    found = {service: containers.inside(service, "sh", "-c", f"{KEPT} | sort -k2") for service in SERVICES}
    for service, (status, said) in found.items():
        assert status == 0
        assert f"/{service}/kafka_password\n" in said
    return {service: said for service, (_, said) in found.items()}


async def test_the_jobs_run_again_and_nothing_else_is_another(containers: InContainers) -> None:
    times, files = started(containers), kept(containers)
    await asyncio.to_thread(containers.containers.up, print)
    again = started(containers)
    assert {service for service in again if again[service] != times[service]} == JOBS
    assert kept(containers) == files
