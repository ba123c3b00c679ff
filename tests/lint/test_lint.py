"""What `make lint` says holds. A test like any other, so that it runs beside them: mypy alone takes half a minute."""

import subprocess

import pytest

from deploy.native.layout import CHECKOUT
from tests.support.stack import ASIDE


@pytest.mark.timeout(300)
def test_ruff_and_mypy_find_nothing() -> None:
    command = ["nice", f"-n{ASIDE}", "make", "--no-print-directory", "--old-file=setup", "lint"]
    done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
