"""otp_dispatch as a process on topics of a test's own: `python -m tests.integration.otp_dispatch.replica ROUTES`."""

import json
import sys
from contextlib import AbstractAsyncContextManager
from dataclasses import replace

from libs.contracts.topics import Topic
from libs.runtime.health import Health
from libs.runtime.process import run
from services.otp_dispatch.app import serve
from services.otp_dispatch.routes import DEFAULT_ROUTES, Routes
from services.otp_dispatch.settings import Settings


class RoomSettings(Settings):
    """Settings under a name of the test's own: group, schema and producer."""

    service: str  # type: ignore[assignment]


def routes(names: dict[str, str]) -> Routes:
    """The service's routes under other topic names, with two partitions: as many as replicas."""
    own: dict[str, Topic] = vars(DEFAULT_ROUTES)
    return Routes(
        **{field: replace(topic, name=names[field], partitions=2, producers=()) for field, topic in own.items()}
    )


def main(settings: RoomSettings, health: Health) -> AbstractAsyncContextManager[None]:
    """Serve on the topics that the command line names."""
    return serve(settings, health, routes(json.loads(sys.argv[1])))


if __name__ == "__main__":
    raise SystemExit(run(RoomSettings, main))
