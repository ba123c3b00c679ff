"""`python -m services.gateway` serves."""

from libs.runtime.process import run
from services.gateway.app import serve
from services.gateway.settings import Settings

if __name__ == "__main__":
    raise SystemExit(run(Settings, serve))
