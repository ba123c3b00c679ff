"""What takes minutes: lines of progress, and the end that stops it; results go to a file."""

import sys
import time
from collections.abc import Callable

from deploy.native.failures import StackError


def say(text: str) -> None:
    """A line on standard error, with the time of day."""
    sys.stderr.write(f"{time.strftime('%H:%M:%S')}  {text}\n")


def told(main: Callable[[], int]) -> int:
    """The exit code of a door; what stops it is told in a line: 1 for the stack, 130 for an interrupt."""
    try:
        return main()
    except StackError as error:
        say(f"error: {error}")
        return 1
    except KeyboardInterrupt:
        say("interrupted")
        return 130
