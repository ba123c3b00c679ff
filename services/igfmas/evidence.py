"""What an auditor needs of a posted document, in one folder, and its check by OpenSSL alone."""

import asyncio
import json
import shlex
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from libs.contracts.record import DOCUMENT_FILE, SIGNATURE_FILE, TRUST_FILE, Inclusion, evidence
from libs.contracts.signing import Posted, Verified

RECORD_FILE: Final = "record.json"
PARALLEL: Final = 2
CHECK_SECONDS: Final = 30

CONTENT_ERROR: Final = "content verify error"
"""OpenSSL's words for a message digest that is not the content's (1.1 to 3.x)."""


@dataclass(frozen=True)
class Verdict:
    """What `openssl cms -verify` said; `said` is its complaint."""

    folder: Path
    holds: bool
    said: str

    @property
    def altered(self) -> bool:
        """Whether it was refused because the signature is over other bytes, and for no other reason."""
        return not self.holds and CONTENT_ERROR in self.said


def write_evidence(
    folder: Path,
    *,
    content: bytes,
    verified: Verified,
    posted: Posted,
    trust: bytes,
    inclusion: Inclusion | None = None,
) -> None:
    """Write the four files. Raises EvidenceError when the events do not make the record that was logged, OSError."""
    record = evidence(verified, posted, inclusion)
    folder.mkdir(parents=True)
    (folder / DOCUMENT_FILE).write_bytes(content)
    (folder / SIGNATURE_FILE).write_bytes(verified.cms)
    (folder / TRUST_FILE).write_bytes(trust)
    (folder / RECORD_FILE).write_text(json.dumps(record, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def check(folder: Path) -> Verdict:
    """Run the very command that record.json holds, in the folder."""
    return _run(folder, _command(folder))


def check_altered(folder: Path) -> Verdict:
    """The same command over the document with one byte changed: the verdict must be `altered`."""
    content = bytearray((folder / DOCUMENT_FILE).read_bytes())
    content[len(content) // 2] ^= 1
    with tempfile.NamedTemporaryFile(prefix="altered-") as altered:
        altered.write(content)
        altered.flush()
        command = _command(folder)
        command[command.index("-content") + 1] = altered.name
        return _run(folder, command)


async def check_all(
    folders: Sequence[Path], check_one: Callable[[Path], Verdict], done: Callable[[], None]
) -> list[Verdict]:
    """A verdict for every folder, in order, PARALLEL at a time; `done` is called after each."""
    slots = asyncio.Semaphore(PARALLEL)

    async def one(folder: Path) -> Verdict:
        async with slots:
            verdict = await asyncio.to_thread(check_one, folder)
            done()
            return verdict

    return list(await asyncio.gather(*(one(folder) for folder in folders)))


def _command(folder: Path) -> list[str]:
    record = json.loads((folder / RECORD_FILE).read_text(encoding="utf-8"))
    return shlex.split(record["openssl"])


def _run(folder: Path, command: list[str]) -> Verdict:
    try:
        ended = subprocess.run(  # noqa: S603 (the command of our own record, without a shell)
            command,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            timeout=CHECK_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return Verdict(folder, holds=False, said=str(error))
    return Verdict(folder, holds=ended.returncode == 0, said=ended.stderr.decode("utf-8", "replace").strip())
