"""`python -m services.monitor` serves."""

from libs.runtime.process import run
from services.monitor.app import serve
from services.monitor.settings import Settings

if __name__ == "__main__":
    raise SystemExit(run(Settings, serve))
