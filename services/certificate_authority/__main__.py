"""`python -m services.certificate_authority` serves."""

from libs.runtime.process import run
from services.certificate_authority.app import serve
from services.certificate_authority.settings import Settings

if __name__ == "__main__":
    raise SystemExit(run(Settings, serve))
