"""The event loop of a fuzzing process: made once, since inputs come by the thousand."""

import asyncio
import atexit
from functools import cache


@cache
def loop() -> asyncio.AbstractEventLoop:
    """The same at every call; closed when the process ends."""
    made = asyncio.new_event_loop()
    atexit.register(made.close)
    return made
