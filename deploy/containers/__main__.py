"""Command line: `python -m deploy.containers up|down|build|base-image|bundle|test`."""

import argparse
import os
import subprocess
import sys
from collections.abc import Callable

from deploy.containers import bundle, engine, images
from deploy.containers.stack import addresses, open_stack
from deploy.native.__main__ import say
from deploy.native.failures import StackError
from deploy.native.layout import CHECKOUT

SCENARIOS = ("tests/e2e/test_fourteen_steps.py",)
"""Written once, and run on both stacks."""


def main() -> int:
    """Run one command; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m deploy.containers", description=__doc__)
    commands: dict[str, tuple[Callable[[], None], str]] = {
        "up": (_up, "build what is missing, start, and leave running"),
        "down": (lambda: open_stack().down(), "stop; the volumes are kept"),
        "build": (lambda: images.build(say), "the images of docker-compose.yml"),
        "test": (
            _test,
            "start an engine if none runs and we may, build, run tests/containers, and stop what was started",
        ),
        "bundle": (_bundle, "one archive of images for a site without any network: var/containers/bundle.tar"),
        "base-image": (lambda: images.make_base_image(say), "a base image by debootstrap, where no registry answers"),
    }
    explained = "; ".join(f"{name}: {what}" for name, (_, what) in commands.items())
    parser.add_argument("command", choices=commands, help=explained)
    command, _ = commands[parser.parse_args().command]
    try:
        with engine.running(say):
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
    images.build(say)
    command = [sys.executable, "-m", "pytest", "-m", "stack or containers", "tests/containers", *SCENARIOS]
    subprocess.run(command, cwd=CHECKOUT, check=True, env=os.environ | {"GPKI_TEST_CONTAINERS": "1"})


if __name__ == "__main__":
    sys.exit(main())
