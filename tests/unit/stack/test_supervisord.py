"""A part that cannot start is tried again for ever, and soon."""

from types import SimpleNamespace

import pytest
from supervisor.process import Subprocess
from supervisor.states import ProcessStates

from deploy.native.supervisord import LONGEST_WAIT, bounded


def failing(starts: int) -> list[float]:
    """How long supervisord waits after each of so many failed starts, in seconds."""
    process = Subprocess(SimpleNamespace(name="kafka", options=None))
    process.group = SimpleNamespace(config=SimpleNamespace(name="infrastructure"))
    waits = []
    for _ in range(starts):
        process.change_state(ProcessStates.STARTING)
        process.change_state(ProcessStates.BACKOFF)
        waits.append(process.backoff)
    return waits


def test_a_part_that_failed_for_an_hour_is_tried_again_within_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    assert failing(100)[-1] == 100, "what supervisord does by itself"
    monkeypatch.setattr(Subprocess, "change_state", bounded(Subprocess.change_state))
    assert failing(100) == [1, 2, 3, 4, *[LONGEST_WAIT] * 96]
