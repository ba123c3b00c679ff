"""The HSM as a dependency of the loop."""

from collections.abc import Iterator
from contextlib import contextmanager

from libs.bus.outcomes import Unavailable
from libs.hsm.errors import HsmError, HsmRefused, KeyUnusable
from libs.runtime import metrics

HSM = "hsm"
"""The dependency's name in `Unavailable`."""


@contextmanager
def hsm_unavailable() -> Iterator[None]:
    """An HSM that does not do its work, in the loop's word.

    Whether it could not be asked, or said no: we ask it for our own keys and for nothing that an officer chose, so that
    its "no" is never an answer about a request. Only a wrapped key that does not unwrap is. A "no" is an alarm: until
    a person gives back the key that is lost, it is waited for.
    """
    try:
        yield
    except KeyUnusable:
        raise
    except HsmError as error:
        if isinstance(error, HsmRefused):
            metrics.alarm("hsm_signer", "hsm-refused", error=str(error))
        raise Unavailable(HSM) from error
