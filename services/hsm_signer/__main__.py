"""`python -m services.hsm_signer` serves; `… init` makes the token's keys and asks for the sealing authority."""

import sys

from libs.runtime.process import run
from services.hsm_signer.app import serve
from services.hsm_signer.init import initialise
from services.hsm_signer.settings import Settings

if __name__ == "__main__":
    raise SystemExit(run(Settings, initialise if sys.argv[1:] == ["init"] else serve))
