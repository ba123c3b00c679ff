"""A failure of the stack shows the right lines and the right next step."""

import errno
from pathlib import Path

import pytest

from deploy.native.failures import disk_full, part_failed, preparation_failed, tail, tells_disk_full


@pytest.mark.parametrize(
    "line",
    [
        "java.io.IOException: No space left on device",
        'PANIC:  could not write to file "pg_wal/xlogtemp.31": No space left on device',
        'ERROR:  could not extend file "base/16384/2619": wrote only 4096 of 8192 bytes at block 3',
        "OSError: [Errno 122] Disk quota exceeded: '/var/x'",
    ],
)
def test_a_full_disk_is_recognised_in_the_words_of_each_part(tmp_path: Path, line: str) -> None:
    log = tmp_path / "part.log"
    log.write_text(f"started\n{line}\n\tat java.base/Files.write\n")
    failure = part_failed("kafka", "not ready after 60 s", log)
    assert line in failure.problem
    assert failure.remedy.startswith("the disk is full: free space")


def test_a_disk_that_fills_up_during_preparation_is_said(tmp_path: Path) -> None:
    said = 'FATAL:  could not write to file "base/4/1247": No space left on device'
    assert "free space" in preparation_failed("postgres", "initdb failed", said, tmp_path).remedy
    assert str(tmp_path) in preparation_failed("postgres", "initdb failed", "Permission denied", tmp_path).remedy


def test_other_trouble_points_to_the_log(tmp_path: Path) -> None:
    log = tmp_path / "part.log"
    log.write_text("FATAL: data directory has wrong ownership\n")
    assert not tells_disk_full(tail(log))
    assert str(log) in part_failed("postgres", "ended", log).remedy


def test_a_missing_log_is_no_second_failure(tmp_path: Path) -> None:
    assert "nothing logged" in part_failed("smtp", "ended", tmp_path / "none.log").problem


def test_the_tail_has_the_cause_and_not_its_stack_trace(tmp_path: Path) -> None:
    log = tmp_path / "part.log"
    trace = "\n".join(f"\tat kafka.Frame{n}" for n in range(50))
    log.write_text("early\n" * 100_000 + f"java.lang.RuntimeException: why\n{trace}\n")
    assert tail(log, 3) == ["early", "early", "java.lang.RuntimeException: why"]


def test_only_a_full_disk_is_translated(tmp_path: Path) -> None:
    full = disk_full(OSError(errno.ENOSPC, "No space left on device", "/x/postgres.conf"), tmp_path)
    assert full is not None
    assert "/x/postgres.conf" in full.problem
    assert disk_full(PermissionError(errno.EACCES, "Permission denied", "/x"), tmp_path) is None
