"""`python -m services.crl_verifier` serves."""

from libs.runtime.process import run
from services.crl_verifier.app import serve
from services.crl_verifier.settings import Settings

if __name__ == "__main__":
    raise SystemExit(run(Settings, serve))
