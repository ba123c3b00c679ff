"""What a run leaves behind: evidence of every posted document, the summary, and the last words on the screen."""

import asyncio
import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from rich.table import Table

from libs.gpki_client.errors import RecordError
from libs.gpki_client.record import Pinned, verify_record
from services.igfmas.account import Account, Stage
from services.igfmas.demo.display import Display
from services.igfmas.demo.scenario import Refusal
from services.igfmas.documents import Paper
from services.igfmas.evidence import check, check_all, check_altered, write_evidence
from services.igfmas.observation import DocumentSeen, Observation, RequestSeen
from services.igfmas.signing_log import SigningLogSeen
from services.igfmas.trust import Trust

ALTERED_EVERY: Final = 50
"""Of so many evidence folders one is also checked with one byte of the document changed."""


@dataclass(frozen=True)
class Evidence:
    """How many folders were checked with OpenSSL, and what did not come out as it must; `unproven` are receipts that do
    not prove their place in the signing log.
    """

    verified: int
    failed: tuple[str, ...]
    altered_checked: int
    altered_accepted: tuple[str, ...]
    unproven: tuple[str, ...]

    @property
    def holds(self) -> bool:
        """Every signature over its document, and none over another; every record in the signing log."""
        wrong = self.failed or self.altered_accepted or self.unproven
        return self.verified > 0 and not wrong and self.altered_checked > 0


@dataclass(frozen=True)
class Outcome:
    """Everything that a run is judged by."""

    run: str
    seconds: float
    account: Account
    stages: Mapping[str, Stage]
    refusals: tuple[Refusal, ...]
    evidence: Evidence | None
    dead_letters: tuple[str, ...]
    failure: str | None
    """What ended the story early, None when it came to its end."""

    @property
    def good(self) -> bool:
        """Whether everything was as it must be."""
        account = self.account
        return (
            self.failure is None
            and (account.lost, account.duplicated, account.contradictions) == (0, 0, ())
            and account.posted > 0
            and account.refused == len(self.refusals)
            and bool(self.refusals)
            and all(refusal.expected for refusal in self.refusals)
            and not self.dead_letters
            and self.evidence is not None
            and self.evidence.holds
            and self.evidence.verified == account.posted
        )

    def summary(self) -> dict[str, object]:
        """The content of summary.json."""
        account = asdict(self.account)
        contradictions = account.pop("contradictions")
        return {
            **account,
            "seconds": round(self.seconds, 1),
            "stages": {name: asdict(stage) for name, stage in self.stages.items()},
            "run": self.run,
            "good": self.good,
            "failure": self.failure,
            "contradictions": contradictions,
            "dead_letters": self.dead_letters,
            "refusals": [asdict(refusal) for refusal in self.refusals],
            "evidence": None if self.evidence is None else asdict(self.evidence),
        }


def clear(results: Path) -> None:
    """Remove what an earlier run left: a summary must never speak of another run. Raises OSError."""
    results.mkdir(parents=True, exist_ok=True)
    (results / "summary.json").unlink(missing_ok=True)
    if (results / "evidence").exists():
        shutil.rmtree(results / "evidence")


async def make_evidence(
    results: Path,
    observation: Observation,
    *,
    papers: Mapping[str, Paper],
    trust: Trust,
    log: SigningLogSeen,
    display: Display,
) -> Evidence:
    """Write and check one folder per posted document. Raises EvidenceError, TrustError, OSError."""
    folders = []
    for request, document in observation.all_documents():
        if document.posted is None or document.verified is None:
            continue
        folder = results / "evidence" / folder_name(request, document)
        pem = await trust.pem_for(document.verified)
        content = papers[document.entry.id].content
        await asyncio.to_thread(
            write_evidence,
            folder,
            content=content,
            verified=document.verified,
            posted=document.posted,
            trust=pem,
            inclusion=log.inclusion_of(document.posted),
        )
        folders.append(folder)
    display.head(f"openssl cms -verify: {len(folders)} tandatangan / signatures")
    with display.counting("disahkan / verified", len(folders)) as done:
        verdicts = await check_all(folders, check, done)
    altered = await check_all(folders[::ALTERED_EVERY], check_altered, lambda: None)
    with display.counting("resit / receipts", len(folders)) as done:
        unproven = await asyncio.to_thread(_unproven, folders, trust.pinned, done)
    return Evidence(
        verified=sum(verdict.holds for verdict in verdicts),
        failed=tuple(f"{verdict.folder.name}: {verdict.said}" for verdict in verdicts if not verdict.holds),
        altered_checked=len(altered),
        altered_accepted=tuple(verdict.folder.name for verdict in altered if not verdict.altered),
        unproven=unproven,
    )


def _unproven(folders: Sequence[Path], pinned: Pinned, done: Callable[[], None]) -> tuple[str, ...]:
    """What the SDK does not accept of these, as an integrator or an auditor checks it, offline."""
    found = []
    for folder in folders:
        try:
            verify_record(folder, pinned=pinned)
        except RecordError as error:
            found.append(f"{folder.name}: {error}")
        done()
    return tuple(found)


def folder_name(request: RequestSeen, document: DocumentSeen) -> str:
    """The document's id for its `sah`; its second signing lies beside it as `<document id>@peraku`: no id has an @."""
    return document.entry.id if request.action == "sah" else f"{document.entry.id}@{request.action}"


def write_summary(results: Path, outcome: Outcome) -> None:
    """Write summary.json, whole or not at all."""
    temporary = results / ".summary.json"
    temporary.write_text(json.dumps(outcome.summary(), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    temporary.replace(results / "summary.json")


def show(outcome: Outcome, display: Display, *, results: Path, logs: Path | str, mail: Path) -> None:
    """What happened, and where to look."""
    account = outcome.account
    table = Table(title="Kependaman setiap peringkat / latency of each stage, ms")
    for column in ("peringkat / stage", "peristiwa / events", "p50", "p99"):
        table.add_column(column, justify="left" if column.startswith("peringkat") else "right")
    for name, stage in outcome.stages.items():
        table.add_row(name, str(stage.count), str(stage.p50_ms), str(stage.p99_ms))
    display.table(table)
    display.say(
        f"diminta / requested {account.requested} = posted {account.posted} + ditolak / refused {account.refused}"
        f" + hilang / lost {account.lost}; berganda / duplicated {account.duplicated}"
    )
    for refusal in outcome.refusals:
        display.say(f"{'OK' if refusal.expected else 'SALAH / WRONG'}: {refusal.cause} -> {refusal.reason}")
    if outcome.evidence is not None:
        evidence = outcome.evidence
        refused = evidence.altered_checked - len(evidence.altered_accepted)
        display.say(f"openssl: {evidence.verified} sah / valid, {len(evidence.failed)} gagal / failed")
        display.say(f"satu bait diubah / one byte changed: {refused}/{evidence.altered_checked} ditolak / refused")
        proven = evidence.verified + len(evidence.failed) - len(evidence.unproven)
        display.say(
            f"resit / receipts: {proven} dalam log / in the signing log, {len(evidence.unproven)} gagal / failed"
        )
        for line in (*evidence.failed[:5], *evidence.altered_accepted[:5], *evidence.unproven[:5]):
            display.say(f"  {line}")
    for fault in (*account.contradictions[:10], *(f"dead letter: {topic}" for topic in outcome.dead_letters[:10])):
        display.say(f"  {fault}")
    display.say(f"ringkasan / summary: {results / 'summary.json'}")
    display.say(f"bukti / evidence:    {results / 'evidence'}/<document id>/, perintah dalam / command in record.json")
    display.say(f"pegawai / officers:  {results / 'officers.json'}; mel / mail: {mail}")
    display.say(f"log / logs:          {logs}")
    if outcome.failure is not None:
        display.say(f"GAGAL / FAILED: {outcome.failure}", style="bold red")
    else:
        display.say("BERJAYA / SUCCEEDED" if outcome.good else "GAGAL / FAILED", style="bold")
