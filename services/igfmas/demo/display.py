"""What the demonstration shows: lines, and the chain's counts, as a live table on a terminal, else as plain lines."""

import asyncio
import contextlib
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from types import TracebackType
from typing import Final, Self

from rich.console import Console
from rich.live import Live
from rich.progress import MofNCompleteColumn, Progress, TextColumn
from rich.table import Table

REFRESH_PER_SECOND: Final = 4
PLAIN_SECONDS: Final = 2.0
"""Between two plain lines of counts; none while nothing changed."""

LABELS: Final = {
    "requested": "1-2   diminta / requested",
    "medium_lookup": "3-5   medium diketahui / medium known",
    "otp_dispatch": "6-7   OTP dihantar / OTP sent",
    "gateway": "8     PIN + OTP diterima / PIN + OTP submitted",
    "hsm_signer": "9-10  ditandatangani / signed",
    "crl_verifier": "11-12 disahkan / verified",
    "posting": "13-14 posted",
    "refused": "      ditolak / refused",
}


class Display:
    """Entered while the chain moves; `say` works before and after too. Text is never taken for markup."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(highlight=False, soft_wrap=True)
        self._counts: Callable[[], Mapping[str, int]] = dict
        self._live: Live | None = None
        self._plain: asyncio.Task[None] | None = None
        self._began = time.monotonic()

    def say(self, text: str, *, style: str = "") -> None:
        """One line with the seconds since the beginning."""
        try:
            self._console.print(f"{time.monotonic() - self._began:6.1f}  {text}", style=style, markup=False)
        except BrokenPipeError:  # a reader that went away (`| head`) must not end what is under way
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())

    def head(self, text: str) -> None:
        """The beginning of a part."""
        self.say(text, style="bold")

    def table(self, table: Table) -> None:
        """A finished table."""
        self._console.print(table)

    @contextlib.contextmanager
    def counting(self, what: str, total: int) -> Iterator[Callable[[], None]]:
        """Show how many of `total` are done; call what is yielded for each."""
        with Progress(
            TextColumn("        {task.description}"),
            MofNCompleteColumn(),
            console=self._console,
            disable=not self._console.is_terminal,
            transient=True,
        ) as progress:
            task = progress.add_task(what, total=total)
            yield lambda: progress.advance(task)

    def follow(self, counts: Callable[[], Mapping[str, int]]) -> Self:
        """Show these counts while entered."""
        self._counts = counts
        return self

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._live = Live(
                console=self._console, get_renderable=self._table, refresh_per_second=REFRESH_PER_SECOND, transient=True
            )
            self._live.__enter__()
        else:
            self._plain = asyncio.create_task(self._plain_lines())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.__exit__(kind, error, trace)
            self._live = None
        if self._plain is not None:
            self._plain.cancel()
            self._plain = None

    def _table(self) -> Table:
        table = Table(title="Rantaian / chain: dokumen / documents")
        table.add_column("langkah / steps")
        table.add_column("", justify="right")
        for name, count in self._counts().items():
            table.add_row(LABELS[name], str(count))
        return table

    async def _plain_lines(self) -> None:
        shown: Mapping[str, int] = {}
        with contextlib.suppress(asyncio.CancelledError):
            while True:
                await asyncio.sleep(PLAIN_SECONDS)
                counts = self._counts()
                if counts != shown:
                    shown = counts
                    self.say("  ".join(f"{name} {count}" for name, count in counts.items()))
