"""The HSM as a dependency of the loop."""

from collections.abc import Iterator
from contextlib import contextmanager

from libs.bus.outcomes import Unavailable
from libs.hsm.errors import HsmError, KeyUnusable

HSM = "hsm"
"""The dependency's name in `Unavailable`."""


@contextmanager
def hsm_unavailable() -> Iterator[None]:
    """An HSM that does not do its work, in the loop's word.

    Whether it could not be asked, or said no: we ask it for our own keys and for nothing that an officer chose, so that
    its "no" is never an answer about a request. Only a wrapped key that does not unwrap is.
    """
    try:
        yield
    except KeyUnusable:
        raise
    except HsmError as error:
        raise Unavailable(HSM) from error
