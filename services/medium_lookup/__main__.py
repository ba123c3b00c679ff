"""`python -m services.medium_lookup` serves."""

from libs.runtime.process import run
from services.medium_lookup.app import serve
from services.medium_lookup.settings import Settings

if __name__ == "__main__":
    raise SystemExit(run(Settings, serve))
