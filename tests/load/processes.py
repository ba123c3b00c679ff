"""What each process of a stack has used: CPU, and the most memory, as the kernel counts them."""

import os
from collections.abc import Mapping

import psutil

from deploy.native.layout import SERVICES
from tests.support.stack import Stack

CLIENT = "client"
"""This process: iGFMAS and its officers."""

PARTS = (*SERVICES, "kafka", "postgres", "smtp")

MEBIBYTE = 1_048_576


class Processes:
    """Every process of a running stack by its part, with this one. `more` are replicas: their cost is their part's."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self.more: dict[str, int] = {}
        """Process id of a second replica by service."""

    def pids(self) -> dict[str, list[int]]:
        """As they are now: a part that was restarted has another one."""
        pids = self._stack.pids()
        found = {name: [pids[name]] for name in PARTS}
        for name, pid in self.more.items():
            found[name].append(pid)
        return found

    def cpu_seconds(self) -> dict[str, float]:
        """CPU used so far; of PostgreSQL with its backends, also those that have ended."""
        used = {name: sum(map(_family_seconds, pids)) for name, pids in self.pids().items()}
        own = os.times()
        return {**used, CLIENT: own.user + own.system}

    def peaks(self) -> dict[str, float]:
        """MiB of memory that each service had at most since it was started (VmHWM, which no sampling misses)."""
        return {name: max(map(_peak, pids)) for name, pids in self.pids().items() if name in SERVICES}

    def resident(self) -> dict[str, float]:
        """MiB resident now. Of PostgreSQL what is not shared among its processes."""
        sizes = {name: sum(map(_resident, pids)) for name, pids in self.pids().items() if name != "postgres"}
        (postmaster,) = self.pids()["postgres"]
        family = [psutil.Process(postmaster), *psutil.Process(postmaster).children(recursive=True)]
        return {**sizes, "postgres": sum(map(_unshared, family)), CLIENT: _resident(os.getpid())}


def used_between(before: Mapping[str, float], after: Mapping[str, float], documents: int) -> dict[str, float]:
    """Microseconds of CPU per document."""
    return {name: 1e6 * (after[name] - before[name]) / documents for name in after}


def _family_seconds(pid: int) -> float:
    head = psutil.Process(pid)
    own = head.cpu_times()
    used = own.user + own.system + own.children_user + own.children_system
    for child in head.children(recursive=True):
        try:
            times = child.cpu_times()
        except psutil.NoSuchProcess:
            continue  # it ended just now, and is counted with its parent the next time
        used += times.user + times.system
    return float(used)


def _peak(pid: int) -> float:
    with open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as status:  # noqa: PTH123 (a kernel's table)
        (line,) = (line for line in status if line.startswith("VmHWM:"))
    return int(line.split()[1]) / 1024


def _resident(pid: int) -> float:
    return float(psutil.Process(pid).memory_info().rss) / MEBIBYTE


def _unshared(process: psutil.Process) -> float:
    try:
        return float(process.memory_full_info().uss) / MEBIBYTE
    except psutil.NoSuchProcess:
        return 0.0
