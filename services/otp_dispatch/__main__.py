"""`python -m services.otp_dispatch` serves; `… init` makes its keys and asks for the challenge key's certificate."""

import sys

from libs.runtime.process import run
from services.otp_dispatch.app import serve
from services.otp_dispatch.init import initialise
from services.otp_dispatch.settings import InitSettings, Settings

if __name__ == "__main__":
    raise SystemExit(run(InitSettings, initialise) if sys.argv[1:] == ["init"] else run(Settings, serve))
