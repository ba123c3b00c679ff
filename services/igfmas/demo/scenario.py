"""The story of the demonstration: maker and checker, singles, a Pukal, a USB token, and three refusals."""

import asyncio
from collections.abc import Coroutine, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from libs.contracts.manifest import Action
from libs.contracts.reasons import Reason
from libs.contracts.texts import LANGUAGES, Language, Text, text
from libs.gpki_client import Dispatch
from libs.gpki_client.device import Device, DeviceClient
from services.igfmas.demo.display import Display
from services.igfmas.demo.officers import Cast
from services.igfmas.demo.plan import Plan
from services.igfmas.demo.steps import step_line
from services.igfmas.demo.usb_token import usb_token
from services.igfmas.desk import Desk, Pressed
from services.igfmas.documents import Paper
from services.igfmas.enrolment import Officer
from services.igfmas.mailbox import Mailbox

MAIL_SECONDS: Final = 30.0

TRIES: Final = 6
"""More than any limit on wrong codes or PINs: a chain that lets them all pass fails the demonstration."""


class Unexpected(Exception):
    """The chain did something else than it should; the text says what."""


@dataclass(frozen=True)
class Refusal:
    """A refusal that was provoked, and what the chain answered."""

    cause: str
    reason: Reason
    expected: bool


class Story:
    """Plays the officers at their desks. Every method returns when what it started has ended."""

    def __init__(
        self, desk: Desk, mailbox: Mailbox, phone: DeviceClient, *, display: Display, cast: Cast, prefix: str
    ) -> None:
        self._desk = desk
        self._phone = phone
        self._mailbox = mailbox
        self._display = display
        self._cast = cast
        self._prefix = prefix
        self._requests = 0

    async def enrol(self, device: Device) -> None:
        """All officers at once; then the approver's GPKI Mobile."""
        await together(self._desk.enrol(officer) for officer in self._cast.roaming)
        await self._desk.register(self._cast.approver, device)

    async def first(self, paper: Paper) -> None:
        """One voucher, `sah`, every step shown as it happens."""
        officer, say = self._cast.certifier, self._display.say
        say(step_line(1, officer.name))
        pressed = await self._press("sah", officer, [paper])
        say(step_line(2, f"sah, {paper.entry.id}"))
        say(step_line(3, f"{officer.user}, request_id {pressed.request_id}"))
        await self._reached(pressed, "medium_lookup")
        say(step_line(4, "medium_lookup"))
        say(step_line(5, "roaming-otp"))
        say(step_line(6, "otp_dispatch"))
        dispatch = await self._dispatch(pressed)
        say(step_line(7, f"{dispatch.destination}, rujukan / reference {dispatch.reference_code}"))
        await self._enter(pressed, officer, dispatch)
        say(step_line(8, "kedua-dua dimeterai kepada hsm_signer / both sealed to hsm_signer"))
        await self._reached(pressed, "hsm_signer")
        say(step_line(9, "gateway"))
        say(step_line(10, "hsm_signer, berjaya / signed"))
        await self._reached(pressed, "crl_verifier")
        seen = pressed.seen.documents[paper.entry.id]
        crls = ", ".join(f"CRL {crl.number}" for crl in seen.verified.crls) if seen.verified else "-"
        say(step_line(11, "crl_verifier"))
        say(step_line(12, crls))
        await self._desk.end(pressed)
        self._posted(pressed)
        assert seen.posted is not None  # what `_posted` has just seen to
        say(step_line(13, f"{paper.entry.currency} {paper.entry.amount}, {paper.entry.payee}"))
        say(step_line(14, f"rekod / record {seen.posted.record_id}, log {seen.posted.log_position}"))

    async def approve(self, paper: Paper) -> None:
        """The same document, by another officer: `peraku` needs the posted `sah` of the same bytes and amount."""
        dispatch = await self._sign("peraku", self._cast.approver, [paper])
        self._display.say(f"peraku: OTP -> {dispatch.channel}, {dispatch.destination}; posted")

    async def singles(self, papers: Sequence[Paper]) -> None:
        """One by one at each desk, all desks at once."""

        async def at_desk(officer: Officer, mine: Sequence[Paper]) -> None:
            for paper in mine:
                await self._sign("sah", officer, [paper])

        desks = self._cast.singles
        await together(at_desk(officer, papers[n :: len(desks)]) for n, officer in enumerate(desks))

    async def batch(self, papers: Sequence[Paper]) -> None:
        """A Pukal: any number of documents under one PIN and one OTP."""
        await self._sign("sah", self._cast.batch, papers)

    async def with_token(self, paper: Paper) -> None:
        """An officer who has not moved yet: the medium is `token`, no code is sent, the own machine signs."""
        officer, say = self._cast.token, self._display.say
        async with usb_token() as token:
            certificate = await self._desk.enrol_token(officer, token)
            pressed = await self._press("sah", officer, [paper])
            await self._desk.sign_with_token(pressed, token, certificate)
        await self._desk.end(pressed)
        self._posted(pressed)
        say(step_line(5, "token"))
        say("token: ditandatangani pada mesin pegawai / signed on the officer's own machine; posted")

    async def wrong_otp(self, paper: Paper) -> Refusal:
        """A wrong code until the request is ended."""
        officer = self._cast.wrong_otp
        pressed = await self._press("sah", officer, [paper])
        otp = await self._otp(officer, await self._dispatch(pressed))
        wrong = f"{(int(otp) + 1) % 1_000_000:06}"
        await self._try_until_ended(pressed, pin=officer.pin, otp=wrong)
        return await self._refusal("OTP salah / wrong OTP", pressed, Reason.TOO_MANY_WRONG_OTP)

    async def wrong_pin(self, paper: Paper) -> Refusal:
        """The right code with a wrong PIN until the PIN is locked."""
        officer = self._cast.wrong_pin
        pressed = await self._press("sah", officer, [paper])
        otp = await self._otp(officer, await self._dispatch(pressed))
        wrong = officer.pin[:-1] + str((int(officer.pin[-1]) + 1) % 10)
        await self._try_until_ended(pressed, pin=wrong, otp=otp)
        return await self._refusal("PIN salah / wrong PIN", pressed, Reason.PIN_LOCKED)

    async def revoked(self, paper: Paper) -> Refusal:
        """An officer whose certificate was revoked presses the button."""
        officer = self._cast.revoked
        await self._desk.revoke(officer)
        pressed = await self._press("sah", officer, [paper])
        dispatch = await self._desk.dispatch(pressed)
        if dispatch is not None:  # medium_lookup had not heard of it yet: then the signer refuses
            await self._enter(pressed, officer, dispatch)
        return await self._refusal("Sijil dibatalkan / revoked certificate", pressed, Reason.CERTIFICATE_REVOKED)

    async def _press(self, action: Action, officer: Officer, papers: Sequence[Paper]) -> Pressed:
        self._requests += 1
        return await self._desk.press(action, officer, papers, request=f"{self._prefix}-R{self._requests:04}")

    async def _sign(self, action: Action, officer: Officer, papers: Sequence[Paper]) -> Dispatch:
        pressed = await self._press(action, officer, papers)
        dispatch = await self._dispatch(pressed)
        await self._enter(pressed, officer, dispatch)
        await self._desk.end(pressed)
        self._posted(pressed)
        return dispatch

    async def _dispatch(self, pressed: Pressed) -> Dispatch:
        dispatch = await self._desk.dispatch(pressed)
        if dispatch is None:
            raise Unexpected(f"{_name(pressed)} ended before an OTP was sent: {_reasons(pressed)}")
        return dispatch

    async def _otp(self, officer: Officer, dispatch: Dispatch) -> str:
        if dispatch.channel == "gpki-mobile":
            return (await self._phone.message(dispatch.reference_code, seconds=MAIL_SECONDS)).otp
        return await self._mailbox.otp(officer.email, dispatch.reference_code, seconds=MAIL_SECONDS)

    async def _enter(self, pressed: Pressed, officer: Officer, dispatch: Dispatch) -> None:
        await self._desk.authorise(pressed, pin=officer.pin, otp=await self._otp(officer, dispatch))

    async def _reached(self, pressed: Pressed, stage: str) -> None:
        document = next(iter(pressed.seen.documents.values()))
        conditions = {
            "medium_lookup": lambda: pressed.seen.resolved_at is not None,
            "hsm_signer": lambda: document.signed_at is not None,
            "crl_verifier": lambda: document.verified_at is not None,
        }
        await self._desk.until(pressed, conditions[stage], stage)

    async def _try_until_ended(self, pressed: Pressed, *, pin: str, otp: str) -> None:
        failures = pressed.seen.failures
        for _ in range(TRIES):
            attempt = await self._desk.authorise(pressed, pin=pin, otp=otp)
            await self._desk.until(pressed, partial(failures.__contains__, attempt), "an answer")
            failure = failures.get(attempt)
            if failure is not None:
                titles = " / ".join(
                    _told(failure.reason, language, failure.attempts_left).title for language in LANGUAGES
                )
                self._display.say(f"  {failure.reason}: {titles}; baki cubaan / attempts left: {failure.attempts_left}")
            if pressed.seen.ended is not None or (failure is not None and failure.attempts_left == 0):
                return

    async def _refusal(self, cause: str, pressed: Pressed, expected: Reason) -> Refusal:
        await self._desk.end(pressed)
        reasons = {refusal.reason for refusal in pressed.seen.rejections}
        if any(document.posted for document in pressed.seen.documents.values()) or len(reasons) != 1:
            raise Unexpected(f"{cause}: {_name(pressed)} should be refused, and is {_reasons(pressed) or 'posted'}")
        reason = reasons.pop()
        self._display.say(f"{cause} -> {reason}")
        for language in LANGUAGES:
            told = _told(reason, language, 0)
            self._display.say(f"  {language}: {told.title}. {told.detail} {told.next_step}")
        return Refusal(cause, reason, reason is expected)

    def _posted(self, pressed: Pressed) -> None:
        missing = sum(document.posted is None for document in pressed.seen.documents.values())
        if missing:
            raise Unexpected(f"{_name(pressed)}: {missing} not posted: {_reasons(pressed)}")


async def tell(
    story: Story, plan: Plan[Paper], by_token: Paper, refused: Sequence[Paper], display: Display
) -> list[Refusal]:
    """The whole story; `by_token` and the three `refused` are papers beside those of the plan.

    Raises Unexpected, NotInTime and others.
    """
    if plan.alone:
        display.head("Satu baucar: sah, kemudian peraku oleh pegawai lain / one voucher: sah, then peraku by another")
        await story.first(plan.first)
        await story.approve(plan.first)
    if plan.singles:
        display.head(f"{len(plan.singles)} baucar satu demi satu / singly, by several officers at once")
        await story.singles(plan.singles)
    for papers in plan.batches:
        display.head(f"Pukal: {len(papers)} baucar, satu PIN + OTP / {len(papers)} vouchers, one PIN + OTP")
        await story.batch(papers)
    if not plan.alone:
        display.head("Peraku bagi baucar pertama oleh pegawai lain / peraku of the first voucher by another officer")
        await story.approve(plan.first)
    display.head("Satu baucar dengan token USB / one voucher with a USB token")
    await story.with_token(by_token)
    display.head("Tiga penolakan / three refusals")
    return [
        await story.wrong_otp(refused[0]),
        await story.wrong_pin(refused[1]),
        await story.revoked(refused[2]),
    ]


async def together(coroutines: Iterable[Coroutine[Any, Any, object]]) -> None:
    """Run all at once; the first failure cancels the others and is raised as it is."""
    try:
        async with asyncio.TaskGroup() as group:
            for coroutine in coroutines:
                group.create_task(coroutine)
    except* Exception as failures:  # noqa: BLE001 (raised again, without its group)
        raise failures.exceptions[0] from None


def _told(reason: Reason, language: Language, attempts_left: int | None) -> Text:
    return text(reason, language, attempts_left=attempts_left)


def _name(pressed: Pressed) -> str:
    return f"request {pressed.request_id}"


def _reasons(pressed: Pressed) -> str:
    return ", ".join(sorted({f"{item.stage} {item.reason} {item.detail}".strip() for item in pressed.seen.rejections}))
