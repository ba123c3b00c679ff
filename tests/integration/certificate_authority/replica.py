"""certificate_authority as a process that dies by SIGKILL once the HSM has signed and before that is recorded.

`python -m tests.integration.certificate_authority.replica ROUTES`
"""

import json
import os
import signal
import sys
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from typing import Any

from libs.contracts.topics import Topic
from libs.runtime.health import Health
from libs.runtime.process import run
from services.certificate_authority.app import serve
from services.certificate_authority.hsm_token import Token
from services.certificate_authority.routes import DEFAULT_ROUTES, Routes
from services.certificate_authority.settings import Settings

_sign = Token.sign_certificate


class RoomSettings(Settings):
    """Settings under a name of the test's own: group, schema and producer."""

    service: str  # type: ignore[assignment]


async def sign_and_die(token: Token, *arguments: Any) -> bytes:
    """Sign, and be gone before anyone hears of it."""
    await _sign(token, *arguments)
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError


def routes(names: dict[str, str]) -> Routes:
    """The service's routes under other topic names."""
    own: dict[str, Topic] = vars(DEFAULT_ROUTES)
    return Routes(**{field: replace(topic, name=names[field], producers=()) for field, topic in own.items()})


def main(settings: RoomSettings, health: Health) -> AbstractAsyncContextManager[int]:
    """Serve on the topics that the command line names."""
    return serve(settings, health, routes=routes(json.loads(sys.argv[1])))


if __name__ == "__main__":
    Token.sign_certificate = sign_and_die  # type: ignore[method-assign, assignment]  # the accident itself
    raise SystemExit(run(RoomSettings, main))
