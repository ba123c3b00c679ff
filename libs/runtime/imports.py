"""What a dependency imports only because it happens to be installed."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType


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


@contextmanager
def without_mocks() -> Iterator[None]:
    """Imports within find a `unittest.mock` of bare names, unless it is there: nobody uses the tools that want one."""
    if "unittest" in sys.modules:
        yield
        return
    mock, package = ModuleType("unittest.mock"), ModuleType("unittest")
    vars(mock).update(AsyncMock=object, MagicMock=object)
    vars(package).update(mock=mock)
    sys.modules.update({"unittest": package, "unittest.mock": mock})
    try:
        yield
    finally:
        del sys.modules["unittest"], sys.modules["unittest.mock"]
