"""supervisord, but that its wait after a start that failed has a bound.

It waits one second longer each time, without end: a part that failed for an hour, on a full disk say, would come back
up to a minute and a half after there is space.
"""

from collections.abc import Callable
from typing import Any, Final

from supervisor import supervisord
from supervisor.process import Subprocess

LONGEST_WAIT: Final = 5
"""Seconds between a failed start and the next, at most."""


def bounded(change_state: Callable[..., Any]) -> Callable[..., Any]:
    """Supervisord's own change of a process's state, which counts a failed start and waits for as many seconds."""

    def change(process: Any, new_state: int, expected: bool = True) -> Any:
        process.backoff = min(process.backoff, LONGEST_WAIT - 1)
        return change_state(process, new_state, expected)

    return change


if __name__ == "__main__":
    Subprocess.change_state = bounded(Subprocess.change_state)
    supervisord.main()
