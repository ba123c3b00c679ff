"""`make demo`, from the file of vouchers to the exit status."""

import asyncio
import contextlib
import secrets
import signal
import sys
import time
from collections.abc import Callable, Coroutine, Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import Any, Final

from aiokafka.errors import KafkaError

from deploy.containers.layout import outside
from deploy.native.failures import StackError
from deploy.native.layout import CHECKOUT, Layout, open_layout
from deploy.native.parts import client_environment
from libs.contracts.record import EvidenceError
from libs.crypto.errors import CryptoError
from libs.gpki_client import GpkiClient, GpkiError
from libs.gpki_client.device import Device, DeviceClient
from libs.runtime.clock import utc_now
from libs.runtime.settings import ConfigurationError
from services.igfmas.account import account_of, stages_of
from services.igfmas.chain import Chain, ChainError, NotInTime
from services.igfmas.demo import results as leavings
from services.igfmas.demo.display import Display
from services.igfmas.demo.officers import new_cast, write_officers
from services.igfmas.demo.plan import Plan, plan_of
from services.igfmas.demo.results import Evidence, Outcome
from services.igfmas.demo.scenario import Refusal, Story, Unexpected, tell
from services.igfmas.demo.stack import running_stack
from services.igfmas.desk import Desk, Refused
from services.igfmas.documents import Paper, paper_of
from services.igfmas.keys import read_keys
from services.igfmas.mailbox import Mailbox, NoMail
from services.igfmas.observation import Observation
from services.igfmas.settings import SERVICE_ROOT, Settings
from services.igfmas.trust import Trust
from services.igfmas.vouchers import Voucher, VouchersError, read_vouchers

SAMPLE: Final = Path(__file__).parents[1] / "vouchers.csv"
RESULTS: Final = CHECKOUT / "var" / "demo"

DONE, FAILED, UNUSABLE_INPUT, INTERRUPTED = 0, 1, 2, 130

REFUSALS: Final = 3

RECEIPT_SECONDS: Final = 60.0
"""Until the last document is in a countersigned checkpoint; one is made every few seconds."""

EXPECTED: Final = (
    ChainError, ConfigurationError, CryptoError, EvidenceError, GpkiError, KafkaError, NoMail, NotInTime, OSError,
    Refused, Unexpected,
)  # fmt: skip
"""What can go wrong on the way, each with a text that says what; anything else is a bug of ours and is shown whole."""


def demonstrate(file: Path | None, results: Path | None, *, containers: bool = False) -> int:
    """Run the demonstration, on the embedded stack or that of docker-compose.yml, and return the exit status.

    Nothing that it started runs afterwards, however it ends.
    """
    try:
        vouchers = read_vouchers(file or SAMPLE)
    except VouchersError as error:
        sys.stderr.write(f"tiada apa-apa dimulakan / nothing was started\n{error}\n")
        return UNUSABLE_INPUT
    display, interruption = Display(), Interruption()
    try:
        with interruption.watched():
            layout = outside() if containers else open_layout()
            main = _demonstrate(vouchers, layout, (results or RESULTS).resolve(), display)
            return asyncio.run(interruption.ends(main))
    except StackError as error:
        sys.stderr.write(f"error: {error}\n")
        return INTERRUPTED if interruption.came else FAILED
    except (asyncio.CancelledError, Exception):
        if not interruption.came:
            raise
        # Ctrl-C goes to the whole process group: a child that it ended may fail us before we are cancelled.
        sys.stderr.write("dihentikan / interrupted\n")
        return INTERRUPTED


class Interruption:
    """Ctrl-C, or another request to end: the first one cancels the main task; later ones change nothing.

    What is left to do then, stopping the stack, is bounded.
    """

    def __init__(self) -> None:
        self.came = False
        self._cancel: Callable[[], object] | None = None

    @contextlib.contextmanager
    def watched(self) -> Iterator[None]:
        """Take the signals while entered. In the main thread; asyncio.run then leaves SIGINT to us."""
        kept = {number: signal.signal(number, self._take) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
        try:
            yield
        finally:
            for number, handler in kept.items():
                signal.signal(number, handler)

    async def ends(self, main: Coroutine[Any, Any, int]) -> int:
        """Await what a signal cancels. Raises CancelledError when one came, or what `main` raises."""
        loop, task = asyncio.get_running_loop(), asyncio.ensure_future(main)
        self._cancel = lambda: loop.call_soon_threadsafe(task.cancel)
        if self.came:
            task.cancel()
        return await task

    def _take(self, _number: int, _frame: FrameType | None) -> None:
        if not self.came:
            self.came = True
            if self._cancel is not None:
                self._cancel()


async def _demonstrate(vouchers: Sequence[Voucher], layout: Layout, results: Path, display: Display) -> int:
    began = time.monotonic()
    leavings.clear(results)
    run = f"D{utc_now():%Y%m%d%H%M%S}-{secrets.token_hex(2)}"
    display.head(f"{len(vouchers)} baucar / vouchers; id dokumen bermula dengan / document ids begin with {run}")
    async with running_stack(layout, display.say):
        demonstration = Demonstration(run, layout, results, display)
        outcome = await demonstration.play(vouchers, began)
        leavings.write_summary(results, outcome)
        logs = "docker logs <container>" if layout.networked else layout.state / "log"
        leavings.show(outcome, display, results=results, logs=logs, mail=layout.mail)
    return DONE if outcome.good else FAILED


class Demonstration:
    """One run on a stack that is up."""

    def __init__(self, run: str, layout: Layout, results: Path, display: Display) -> None:
        environment = client_environment(layout)
        self._settings = Settings.model_validate({k.removeprefix("GPKI_").lower(): v for k, v in environment.items()})
        self._run = run
        self._results = results
        self._display = display
        self._mailbox = Mailbox(layout.mail)
        self._observation = Observation()
        self._refusals: list[Refusal] = []
        self._evidence: Evidence | None = None

    async def play(self, vouchers: Sequence[Voucher], began: float) -> Outcome:
        """Tell the story, count what was seen, keep and check the evidence. An expected failure is in the outcome."""
        failure = None
        try:
            await self._play(vouchers)
        except EXPECTED as error:
            failure = f"{type(error).__name__}: {error}"
        return Outcome(
            run=self._run,
            seconds=time.monotonic() - began,
            account=account_of(self._observation),
            stages=stages_of(self._observation),
            refusals=tuple(self._refusals),
            evidence=self._evidence,
            dead_letters=tuple(self._observation.dead),
            failure=failure,
        )

    async def _play(self, vouchers: Sequence[Voucher]) -> None:
        settings, display, observation = self._settings, self._display, self._observation
        papers = [paper_of(voucher, self._run) for voucher in vouchers]
        # Refused ones are documents of their own: what becomes of a document id is told by its id alone.
        refused = [paper_of(vouchers[n % len(vouchers)], f"{self._run}-T{n + 1}") for n in range(REFUSALS)]
        by_token = paper_of(vouchers[0], f"{self._run}-K1")
        caller, registrars = read_keys(settings.secrets_dir)
        root = (settings.pki_dir / SERVICE_ROOT).read_bytes()
        cast, device = new_cast(), Device.new()
        write_officers(self._results / "officers.json", cast.roaming)
        async with (
            Chain(settings.kafka, settings.observer, observation, utc_now) as chain,
            GpkiClient(settings.gateway_url, caller, service_root=root, tls=settings.caller_tls()) as gateway,
            DeviceClient(settings.gateway_url, device, cast.approver.user, tls=settings.device_tls()) as phone,
        ):
            desk = Desk(chain, gateway, caller=caller, registrars=registrars, clock=utc_now)
            story = Story(desk, self._mailbox, phone, display=display, cast=cast, prefix=self._run)
            await desk.await_keys()
            display.head(f"Pendaftaran {len(cast.everyone)} pegawai / enrolment of {len(cast.everyone)} officers")
            await story.enrol(device)
            plan = plan_of(papers)
            self._explain(plan)
            with display.follow(observation.counts):
                self._refusals = await tell(story, plan, by_token, refused, display)
            await chain.drain()
            display.head("Titik semak log tandatangan / checkpoint of the signing log, countersigned")
            posted = [document.posted for _, document in observation.all_documents() if document.posted is not None]
            await chain.wait(lambda: all(map(chain.log.covers, posted)), "the receipts", seconds=RECEIPT_SECONDS)
        trust = Trust(settings.pki_dir, settings.crl_base_url)
        by_id = {paper.entry.id: paper for paper in (*papers, by_token, *refused)}
        self._evidence = await leavings.make_evidence(
            self._results, observation, papers=by_id, trust=trust, log=chain.log, display=display
        )

    def _explain(self, plan: Plan[Paper]) -> None:
        if plan.alone:
            batches = " + ".join(str(len(batch)) for batch in plan.batches)
            self._display.say(f"1 + {len(plan.singles)} satu demi satu / singly + Pukal {batches}")
        else:
            self._display.say(
                f"hanya {len(plan.batches[0])} baucar: semuanya satu Pukal / few vouchers: all of them one Pukal"
            )
