"""`python -m services.hsm_signer` serves."""

from libs.runtime.process import run
from services.hsm_signer.app import serve
from services.hsm_signer.settings import Settings

if __name__ == "__main__":
    raise SystemExit(run(Settings, serve))
