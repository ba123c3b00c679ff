"""What monitor does again and again, and that one failure does not keep it from being ready until the next time."""

import pytest
from aiokafka.errors import GroupLoadInProgressError

from libs.runtime.background import beside
from libs.runtime.health import Health
from services.monitor import app
from tests.support.waiting import eventually


async def test_a_look_that_failed_is_soon_taken_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app, "RETRY", 0.01)
    health, looks = Health("monitor", expects=["lag"]), 0

    async def look() -> None:
        nonlocal looks
        looks += 1
        if looks == 1:
            raise GroupLoadInProgressError

    async with beside(app._again_and_again(look, 3600.0, health, "lag")):
        await eventually(lambda: health.ready, "a look that succeeds", every=0.01)
    assert looks == 2
