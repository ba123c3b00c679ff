"""The HSM as a dependency of the loop."""

from collections.abc import Iterator
from contextlib import contextmanager

from libs.bus.outcomes import Unavailable
from libs.hsm.errors import HsmUnavailable

HSM = "hsm"
"""The dependency's name in `Unavailable`."""


@contextmanager
def hsm_unavailable() -> Iterator[None]:
    """An HSM that could not be asked, in the loop's word."""
    try:
        yield
    except HsmUnavailable as error:
        raise Unavailable(HSM) from error
