"""`python -m services.posting` serves."""

from libs.runtime.process import run
from services.posting.app import serve
from services.posting.settings import Settings

if __name__ == "__main__":
    raise SystemExit(run(Settings, serve))
