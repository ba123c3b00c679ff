"""`python -m services.otp_dispatch` serves."""

from libs.runtime.process import run
from services.otp_dispatch.app import serve
from services.otp_dispatch.settings import Settings

if __name__ == "__main__":
    raise SystemExit(run(Settings, serve))
