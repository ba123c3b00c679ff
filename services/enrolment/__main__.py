"""`python -m services.enrolment` serves."""

from libs.runtime.process import run
from services.enrolment.app import serve
from services.enrolment.settings import Settings

if __name__ == "__main__":
    raise SystemExit(run(Settings, serve))
