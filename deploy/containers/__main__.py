"""Command line: `python -m deploy.containers up|down|build|base-image|bundle|test`."""

import argparse
import os
import signal
import subprocess
import sys
from collections.abc import Callable

from deploy.containers import bundle, engine, images
from deploy.containers.stack import addresses, open_stack
from deploy.native.__main__ import say
from deploy.native.failures import StackError
from deploy.native.layout import CHECKOUT

SCENARIOS = ("tests/e2e/test_fourteen_steps.py", "tests/e2e/test_from_outside.py", "tests/e2e/test_sdk.py")
"""Written once, and run on both stacks."""

OF_A_STACK_THAT_STAYS = ("up", "down")
"""These take no engine that would be gone with them."""

RUNS = {
    "one broker": (
        "1",
        "tests/containers",
        "--ignore=tests/containers/test_brokers.py",
        "--ignore=tests/containers/test_bundle.py",
        *SCENARIOS,
    ),
    "three brokers": ("3", "tests/containers/test_brokers.py"),
    "a site without a network": ("1", "tests/containers/test_bundle.py"),
}
"""What is run one after another, by its stack: how many brokers that has, and what pytest is told."""


def main() -> int:
    """Run one command; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m deploy.containers", description=__doc__)
    commands: dict[str, tuple[Callable[[], None], str]] = {
        "up": (_up, "build what is missing, start, and leave running"),
        "down": (lambda: open_stack().down(), "stop; the volumes are kept"),
        "build": (lambda: images.build(say), "the images of docker-compose.yml"),
        "test": (_test, "start an engine if none runs and we may, build, run the tests, and stop what was started"),
        "bundle": (_bundle, "one archive of images for a site without any network: var/containers/bundle.tar"),
        "base-image": (lambda: images.make_base_image(say), "a base image by debootstrap, where no registry answers"),
    }
    explained = "; ".join(f"{name}: {what}" for name, (_, what) in commands.items())
    parser.add_argument("command", choices=commands, help=explained)
    name = parser.parse_args().command
    command, _ = commands[name]
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # an engine that was started here is stopped then too
    try:
        with engine.required() if name in OF_A_STACK_THAT_STAYS else engine.running(say):
            command()
    except subprocess.CalledProcessError as error:
        return int(error.returncode)
    except StackError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def _up() -> None:
    images.build(say)
    stack = open_stack()
    stack.up(say)
    say(addresses(stack.layout))


def _bundle() -> None:
    images.build(say)
    bundle.make(say)


def _test() -> None:
    engine.require_space()
    images.build(say)
    failed = [what for what, arguments in RUNS.items() if not _passes(what, *arguments)]
    if failed:
        raise subprocess.CalledProcessError(1, "pytest")


def _passes(what: str, brokers: str, *arguments: str) -> bool:
    say(f"tests: {what}")
    command = [sys.executable, "-m", "pytest", "-m", "stack or containers", *arguments]
    environment = os.environ | {"GPKI_TEST_CONTAINERS": "1", "GPKI_BROKERS": brokers}
    return subprocess.run(command, cwd=CHECKOUT, check=False, env=environment).returncode == 0


if __name__ == "__main__":
    sys.exit(main())
