"""Signer and verifier are scaled to two replicas while documents are on their way, and back to one."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from tests.faults.conftest import Pukal
from tests.support.containers import InContainers
from tests.support.faults import members

pytestmark = [pytest.mark.containers, pytest.mark.timeout(400)]

SCALED = ("hsm_signer", "crl_verifier")


async def scale(containers: InContainers, count: int) -> None:
    counts = [part for service in SCALED for part in ("--scale", f"{service}={count}")]
    await asyncio.to_thread(
        containers.containers.compose, "up", "-d", "--no-build", "--no-deps", "--no-recreate", *counts, *SCALED
    )
    for service in SCALED:
        await members(containers, service, count)


@pytest.fixture
async def one_again(containers: InContainers) -> AsyncIterator[None]:
    """Whatever becomes of the test: those behind it kill the one container of a service."""
    yield
    await scale(containers, 1)


@pytest.mark.usefixtures("one_again")
async def test_a_pukal_is_signed_once_while_replicas_come_and_go(containers: InContainers, pukal: Pukal) -> None:
    pukal.begin()
    await pukal.pressed()
    await scale(containers, 2)
    await pukal.happened_once()
