"""What stops the embedded stack, said so that the reader knows what to do next."""

import errno
from pathlib import Path

DISK_FULL_SIGNS = ("No space left on device", "ENOSPC", "could not extend file", "Disk quota exceeded")
"""Substrings by which Kafka, PostgreSQL, SoftHSM and Python report a full disk in their logs."""


class StackError(Exception):
    """The stack cannot do what was asked; carries one sentence of what is wrong and one of what to do."""

    def __init__(self, problem: str, remedy: str) -> None:
        super().__init__(f"{problem}\n  -> {remedy}")
        self.problem = problem
        self.remedy = remedy


def tail(path: Path, lines: int = 15) -> list[str]:
    """Return the last `lines` lines of a log without stack traces; none if it is missing. Reads at most 64 KiB."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - 65536))
            text = file.read().decode("utf-8", "replace")
    except FileNotFoundError:
        return []
    return [line for line in text.splitlines() if not line.startswith("\tat ")][-lines:]


def tells_disk_full(lines: list[str]) -> bool:
    """Whether these log lines report a full disk."""
    return any(sign in line for line in lines for sign in DISK_FULL_SIGNS)


def part_failed(name: str, reason: str, log: Path) -> StackError:
    """Describe a part that did not become ready: reason, last log lines, and the next step that fits them."""
    lines = tail(log)
    shown = "\n".join(f"    | {line}" for line in lines) or "    | (nothing logged)"
    remedy = (
        "the disk is full: free space, then start again; data is kept"
        if tells_disk_full(lines)
        else f"read {log}; then start again"
    )
    return StackError(f"{name}: {reason}\n{shown}", remedy)


def preparation_failed(name: str, what: str, said: str, where: Path) -> StackError:
    """Describe a program that could not prepare a part: what it said, and the next step that fits."""
    full = tells_disk_full(said.splitlines())
    return StackError(
        f"{name}: {what}\n{said.strip()}",
        "the disk is full: free space, then start again" if full else f"look into {where}",
    )


def disk_full(error: OSError, where: Path) -> StackError | None:
    """Translate ENOSPC/EDQUOT into a StackError; None for any other error."""
    if error.errno not in (errno.ENOSPC, errno.EDQUOT):
        return None
    return StackError(f"no space left while writing {error.filename or where}", "free space, then start again")
