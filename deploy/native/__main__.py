"""Command line of the embedded stack: `python -m deploy.native up|down|status|stop|restart|run|environment`."""

import argparse
import asyncio
import os
import shlex
import signal
import sys
import time
from collections.abc import Callable
from types import FrameType

from deploy.native import lifecycle, status
from deploy.native.database import AUDITOR, OPERATOR
from deploy.native.failures import StackError
from deploy.native.layout import SERVICES, Layout, open_layout
from deploy.native.parts import operator_environment, service_environment
from deploy.native.supervisor import Supervisor

INTERRUPTED = 130


def say(text: str) -> None:
    """Print one line of progress at once; a reader that went away (`| head`) must not end what is under way."""
    try:
        print(text, flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def main() -> int:
    """Run one command; returns the exit status."""
    arguments = _arguments()
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    commands: dict[str, Callable[[Layout], int]] = {
        "up": lambda layout: _up(layout, with_services=not arguments.infrastructure),
        "run": lambda layout: _run(layout, with_services=not arguments.infrastructure),
        "down": _down,
        "status": lambda layout: asyncio.run(status.show(layout, say)),
        "stop": lambda layout: _stop(layout, arguments.part),
        "restart": lambda layout: _restart(layout, arguments.part),
        "environment": lambda layout: _environment(layout, arguments.who),
    }
    try:
        return commands[arguments.command](open_layout())
    except StackError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return INTERRUPTED


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m deploy.native", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, explanation in (("up", "start, and leave running"), ("run", "start, and stop again at Ctrl-C")):
        command = commands.add_parser(name, help=explanation)
        command.add_argument("--infrastructure", action="store_true", help="only Kafka, PostgreSQL and the SMTP sink")
    commands.add_parser("down", help="stop everything; data is kept")
    commands.add_parser("status", help="what runs, and whether it answers")
    environment = commands.add_parser("environment", help="what the command line is told, for a shell to eval")
    who = (OPERATOR, AUDITOR, *SERVICES)
    environment.add_argument("who", nargs="?", choices=who, default=OPERATOR, help="of a service: for a step beside it")
    commands.add_parser("stop", help="stop one part; `restart` starts it").add_argument("part")
    commands.add_parser("restart", help="stop and start one part").add_argument("part")
    return parser.parse_args()


def _up(layout: Layout, *, with_services: bool, tied: bool = False) -> int:
    began = time.monotonic()
    if asyncio.run(lifecycle.start(layout, with_services=with_services, tied=tied, say=say)):
        say(f"ready in {time.monotonic() - began:.1f} s")
    else:
        say("the stack is running already")
    say(status.addresses(layout))
    return 0


def _run(layout: Layout, *, with_services: bool) -> int:
    supervisor = Supervisor(layout)
    if supervisor.pid() is not None:
        raise StackError("the stack is running already", "`make down` first, or use it as it is")
    try:
        _up(layout, with_services=with_services, tied=True)
        say("Ctrl-C stops it")
        while supervisor.pid() is not None:
            time.sleep(1)
    except KeyboardInterrupt:
        say("stopping")
        _down(layout)
        return 0
    say("the stack was stopped")
    return 0


def _down(layout: Layout) -> int:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second Ctrl-C must not leave half a stack; the stop is bounded
    if not lifecycle.stop(layout, say):
        say("nothing was running")
    return 0


def _stop(layout: Layout, part: str) -> int:
    lifecycle.stop_part(layout, part)
    say(f"{part} is stopped")
    return 0


def _restart(layout: Layout, part: str) -> int:
    asyncio.run(lifecycle.restart(layout, part))
    say(f"{part} is ready")
    return 0


def _environment(layout: Layout, who: str) -> int:
    """Of a service with a port of its own for its health: the service that runs has the declared one."""
    beside = who in SERVICES
    told = service_environment(layout, who) | {"GPKI_HEALTH_PORT": "0"} if beside else operator_environment(layout, who)
    for name, value in told.items():
        say(f"export {name}={shlex.quote(value)}")
    return 0


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
