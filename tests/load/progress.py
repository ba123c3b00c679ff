"""Lines of progress of what takes minutes; results go to a file."""

import sys
import time


def say(text: str) -> None:
    """A line on standard error, with the time of day."""
    sys.stderr.write(f"{time.strftime('%H:%M:%S')}  {text}\n")
