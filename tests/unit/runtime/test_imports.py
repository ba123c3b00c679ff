"""What services do without: megabytes that a dependency brings for uses that are none of ours."""

import subprocess
import sys

_NONE_OF = """
import sys
import libs.bus, libs.runtime.metrics
left_out = {"uvicorn", "opentelemetry", "unittest", "unittest.mock", "http.server", "urllib.request"}
print(sorted(left_out & set(sys.modules)))
"""

_STILL_THERE = """
import libs.bus, libs.runtime.metrics
from unittest.mock import MagicMock
from http.server import HTTPServer
from urllib.request import Request
print(MagicMock(return_value=3)(), Request("file:///x").type, HTTPServer.allow_reuse_address)
"""


def told(program: str) -> str:
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.strip()


def test_the_loop_brings_no_server_no_tracing_and_no_mocks() -> None:
    assert told(_NONE_OF) == "[]"


def test_whoever_wants_them_later_gets_real_ones() -> None:
    assert told(_STILL_THERE) == "3 file 1"
