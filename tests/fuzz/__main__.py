"""`make fuzz`: atheris on each parser (ONLY=name,name), MINUTES of CPU each; leaves var/fuzz/report.json.

Fails on a finding.
"""

import json
import os
import re
import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from deploy.native.layout import CHECKOUT
from tests.fuzz.parsers import NAMES, target

HANG = 300
"""Seconds for one input, by the wall: only what never ends takes so long, on a busy machine too. See `child.SLOW`."""

MEMORY = 1024
"""MiB of the process: interpreter, instrumented code and full caches take a third."""

VAR = CHECKOUT / "var" / "fuzz"
_STAT = re.compile(r"^stat::(\w+):\s+(\d+)$", re.MULTILINE)


def main() -> int:
    """Fuzz one parser after another; returns the exit status."""
    asked = os.environ.get("ONLY") or ",".join(NAMES)
    minutes = float(os.environ.get("MINUTES") or 10)
    names = asked.split(",")
    if unknown := set(names) - set(NAMES):
        sys.stderr.write(f"error: no parser {', '.join(sorted(unknown))}; there are {', '.join(NAMES)}\n")
        return 2
    runs = {name: fuzz(name, round(60 * minutes)) for name in names}
    report = VAR / "report.json"
    known = json.loads(report.read_text()) if report.exists() else {}
    report.write_text(json.dumps(dict(sorted((known | runs).items())), indent=2) + "\n")
    for name, run in runs.items():
        said = f"{run['executions']:>10,} executions  {run['seconds']:>5} s of CPU  {run['finding'] or 'no finding'}"
        sys.stdout.write(f"{name:12}{said}\n")
    return 1 if any(run["finding"] for run in runs.values()) else 0


def fuzz(name: str, seconds: int) -> dict[str, Any]:
    """One run of so many seconds of CPU, whatever else the machine does, in a process of its own.

    From the corpus of the repository and what earlier runs found worth keeping.
    """
    place = VAR / name
    shutil.rmtree(place / "findings", ignore_errors=True)
    for folder in ("kept", "findings"):
        (place / folder).mkdir(parents=True, exist_ok=True)
    command = [
        sys.executable, "-m", "tests.fuzz.child", name, str(seconds), str(place / "kept"),
        str(target(name).corpus), f"-timeout={HANG}", f"-rss_limit_mb={MEMORY}",
        f"-max_len={target(name).max_size}", f"-artifact_prefix={place / 'findings'}/", "-print_final_stats=1",
    ]  # fmt: skip
    sys.stdout.write(f"fuzz: {name} for {seconds} s of CPU ...\n")
    sys.stdout.flush()
    began, cpu = time.monotonic(), _cpu()
    log = place / "log"
    with log.open("wb") as output:
        status = subprocess.run(command, cwd=CHECKOUT, stdout=output, stderr=output, check=False).returncode
    stats = {key: int(value) for key, value in _STAT.findall(log.read_text(errors="replace"))}
    return {
        "seconds": round(_cpu() - cpu),
        "wall_seconds": round(time.monotonic() - began),
        "executions": stats.get("number_of_executed_units", 0),
        "peak_rss_mb": stats.get("peak_rss_mb", 0),
        "slowest_unit_s": stats.get("slowest_unit_time_sec", 0),
        "kept": len(list((place / "kept").iterdir())),
        "finding": _finding(place / "findings", status, log),
    }


def _cpu() -> float:
    """Seconds that the runs before have used, of all processors."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _finding(folder: Path, status: int, log: Path) -> str | None:
    found = sorted(
        file.relative_to(CHECKOUT).as_posix() for file in folder.iterdir() if not file.name.startswith("slow")
    )
    if not found and status == 0:
        return None
    return f"{', '.join(found) or f'status {status}'}; see {log.relative_to(CHECKOUT)}"


if __name__ == "__main__":
    sys.exit(main())
