"""The one-time step: makes the client's keys and asks for their certificates; may run again."""

import sys

from pydantic import ValidationError

from libs.crypto.errors import CryptoError
from libs.runtime.settings import ConfigurationError
from services.igfmas.keys import make_keys
from services.igfmas.settings import InitSettings


def initialise() -> int:
    """Return the exit code; a fault is told on stderr, without any value."""
    try:
        settings = InitSettings()
    except ValidationError as error:
        for fault in error.errors(include_url=False, include_input=False):
            sys.stderr.write(f"configuration: GPKI_{str(fault['loc'][0]).upper()}: {fault['msg']}\n")
        return 78
    try:
        make_keys(settings.secrets_dir, settings.pki_dir)
    except ConfigurationError as error:
        sys.stderr.write(f"configuration: {error}\n")
        return 78
    except (OSError, CryptoError) as error:
        sys.stderr.write(f"igfmas init: {error}\n")
        return 1
    return 0
