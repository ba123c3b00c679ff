"""What a dependency imports only because it happens to be installed, or for uses that are none of ours."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType


@contextmanager
def without(module: str) -> Iterator[None]:
    """Imports within find no `module`, unless it is there already: for what costs megabytes and is of no use here."""
    yield from _standing_for(module, None)


@contextmanager
def hollow(module: str, *names: str) -> Iterator[None]:
    """Imports within find a `module` of empty classes, unless it is there already: where its absence is an error."""
    stand_in = ModuleType(module)
    vars(stand_in).update({name: type(name, (), {}) for name in names})
    yield from _standing_for(module, stand_in)


def _standing_for(module: str, stand_in: ModuleType | None) -> Iterator[None]:
    if module in sys.modules:
        yield
        return
    sys.modules[module] = stand_in  # type: ignore[assignment]  # None: the import system's own way to say there is none
    try:
        yield
    finally:
        del sys.modules[module]
