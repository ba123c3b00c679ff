"""What a dependency imports only because it happens to be installed."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def without(module: str) -> Iterator[None]:
    """Imports within find no `module`, unless it is there already: for what costs megabytes and is of no use here."""
    if module in sys.modules:
        yield
        return
    sys.modules[module] = None  # type: ignore[assignment]  # the import system's own way to say that there is none
    try:
        yield
    finally:
        del sys.modules[module]
