"""What the machine can do at this moment, beside which every figure stands: the HSM alone, and OpenSSL alone."""

import asyncio
import os
import platform
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from deploy.native import programs
from deploy.native.failures import StackError
from deploy.native.layout import CHECKOUT

RAW_SECONDS = 1.5
OPENSSL_SECONDS = 1
"""For signing, and as long again for verifying, which nobody asked for."""


@dataclass(frozen=True)
class Rates:
    """RSA-2048 signatures per second of one process, with the stack idle."""

    raw_hsm: float
    """python-pkcs11 on SoftHSM."""
    openssl: float
    """`openssl speed rsa2048`."""


async def rates() -> Rates:
    """Both, one after the other. Raises StackError."""
    module = str(programs.pkcs11_module())
    raw = await _output(sys.executable, "-m", "tests.load.raw_hsm", module, str(RAW_SECONDS))
    speed = await _output("openssl", "speed", "-mr", "-seconds", str(OPENSSL_SECONDS), "rsa2048")
    return Rates(float(raw), signatures_per_s(speed))


def signatures_per_s(told: str) -> float:
    """The rate of signing in the output of `openssl speed -mr`: `+F2:<number>:<bits>:<sign/s>:<verify/s>`."""
    (line,) = (line for line in told.splitlines() if line.startswith("+F2:"))
    return float(line.split(":")[3])


async def _output(*command: str) -> str:
    process = await asyncio.create_subprocess_exec(
        *command, cwd=CHECKOUT, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL
    )
    told, _ = await process.communicate()
    if process.returncode:
        raise StackError(f"{' '.join(command[:4])} ended with {process.returncode}", "run it by itself and read why")
    return told.decode()


@dataclass(frozen=True)
class Machine:
    """Whose figures these are, and when."""

    date: str
    cpu: str
    cpus: int
    python: str
    load_before: float
    """Load average of a minute when the run began: above 0.5 a CPU, the figures are somebody else's too."""

    @classmethod
    def here(cls) -> "Machine":
        """This one, now."""
        return cls(
            time.strftime("%Y-%m-%d %H:%M"),
            _cpu_name(),
            os.cpu_count() or 1,
            platform.python_version(),
            round(os.getloadavg()[0], 2),
        )

    @property
    def busy(self) -> bool:
        """Whether others are at work."""
        return self.load_before > 0.5 * self.cpus

    def as_json(self) -> dict[str, object]:
        """For the results."""
        return asdict(self)


def _cpu_name() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:  # noqa: PTH123 (no path to handle, a kernel's table)
            return next((line.split(":")[1].strip() for line in file if line.startswith("model name")), "unknown")
    except OSError:
        return "unknown"


@dataclass(frozen=True)
class Spread:
    """Of several rounds: the median, the least and the most, and all of them in their order; who shows them rounds."""

    median: float
    least: float
    most: float
    rounds: tuple[float, ...]

    def __str__(self) -> str:
        """Without its rounds, and without a fraction."""
        return f"{self.median:.0f} ({self.least:.0f} to {self.most:.0f})"

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        """At least one value."""
        return cls(statistics.median(values), min(values), max(values), tuple(values))
