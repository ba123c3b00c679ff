"""`python -m services.certificate_authority` serves; `… init` makes keys and certificates of the authorities."""

import sys

from libs.runtime.process import run
from services.certificate_authority.app import serve
from services.certificate_authority.provisioning import initialise
from services.certificate_authority.settings import Settings

if __name__ == "__main__":
    raise SystemExit(run(Settings, initialise if sys.argv[1:] == ["init"] else serve))
