"""The SDK against the whole chain: its examples run as an integrator runs them, and each of its parts is used once."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from uuid import uuid4

import pytest

from libs.contracts import topics
from libs.gpki_client import Dispatch, Document, Manifest, Problem, Result, read
from libs.gpki_client.device import Device
from libs.gpki_client.record import verify_record
from services.igfmas.enrolment import Officer, device_registration_of
from services.igfmas.evidence import write_evidence
from services.igfmas.keys import CALLER, CALLER_KEY, SYSTEM
from services.igfmas.settings import SERVICE_ROOT
from tests.support.chain import MAIL_SECONDS, Client, Officers, papers
from tests.support.copies import certified, registered
from tests.support.mobile import phone_is_known
from tests.support.officer_token import RSA, TokenFolder
from tests.support.sdk import SDK, installed, interpreter
from tests.support.token_officers import TokenOfficer, opened
from tests.support.waiting import eventually

pytestmark = pytest.mark.stack

OFFICE = "AG-KL-01"
SECONDS = 60


def manifest_of(officer: Officer, count: int = 1, *, request: str | None = None) -> Manifest:
    """What this officer is asked, made by the SDK."""
    documents = [Document(**paper.entry.texts) for paper in papers(count)]
    named = {"request": request or uuid4().hex, "caller": CALLER, "system": SYSTEM, "user": officer.user}
    return Manifest.of(documents, **named, office=OFFICE, action="sah")


async def otp_of(client: Client, officer: Officer, reference_code: str) -> str:
    code = await client.mailbox.otp(officer.email, reference_code, seconds=MAIL_SECONDS)
    client.otps.add(code)
    return code


class Example:
    """An example in its own interpreter, with the SDK as it is when it is installed."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.said = ""

    async def until(self, pattern: str) -> re.Match[str]:
        """Read on until it says this."""
        assert self._process.stdout is not None
        async with asyncio.timeout(SECONDS):
            while not (found := re.search(pattern, self.said)):
                piece = await self._process.stdout.read(4096)
                assert piece, self.said
                self.said += piece.decode()
        return found

    async def enter(self, *lines: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write("".join(f"{line}\n" for line in lines).encode())
        await self._process.stdin.drain()

    async def ends(self) -> None:
        assert self._process.stdout is not None
        async with asyncio.timeout(SECONDS):
            self.said += (await self._process.stdout.read()).decode()
            assert await self._process.wait() == 0, self.said


@asynccontextmanager
async def example(client: Client, officer: Officer, name: str, folder: Path, request: str) -> AsyncIterator[Example]:
    layout = client.stack.layout
    command, environment = interpreter(installed(folder))
    (folder / "voucher").write_bytes(b"Baucar bayaran " + request.encode())
    process = await asyncio.create_subprocess_exec(
        *(arg for arg in command if arg not in {"-W", "error"}),  # getpass warns that a pipe is no terminal
        *(str(SDK / "examples" / name), str(folder / "voucher"), request),
        cwd=folder,
        env={
            **environment,
            "GPKI_URL": client.stack.gateway,
            "GPKI_KAFKA": client.stack.kafka.bootstrap,
            "GPKI_KAFKA_PASSWORD_FILE": str(layout.secrets("igfmas") / "kafka_password"),
            **({"GPKI_KAFKA_ROOT": str(layout.transport_root)} if layout.transport_root else {}),
            "GPKI_CALLER": CALLER,
            "GPKI_CALLER_KEY": str(layout.secrets("igfmas") / CALLER_KEY),
            "GPKI_CALLER_CERTIFICATE": str(layout.pki / "certificates" / "caller" / f"{CALLER}.pem"),
            "GPKI_TLS_ROOT": str(layout.tls_root),
            "GPKI_SERVICE_ROOT": str(layout.pki / SERVICE_ROOT),
            "GPKI_SYSTEM": SYSTEM,
            "GPKI_USER": officer.user,
            "GPKI_OFFICE": OFFICE,
        },
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        start_new_session=True,  # no terminal: PIN and OTP come on its standard input
    )
    try:
        yield Example(process)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def test_the_example_signs_over_http_and_shows_neither_pin_nor_otp(
    client: Client, officers: Officers, tmp_path: Path
) -> None:
    officer = officers.maker
    async with example(client, officer, "sign_with_roaming.py", tmp_path, uuid4().hex) as program:
        reference = (await program.until(r"OTP ([0-9A-Z]+): "))[1]
        code = await otp_of(client, officer, reference)
        await program.enter(code, officer.pin)
        await program.ends()
    assert "'posted': [{" in program.said
    assert officer.pin not in program.said
    assert code not in program.said


async def test_the_example_on_kafka_alone_is_told_the_end(client: Client, officers: Officers, tmp_path: Path) -> None:
    officer, request = officers.maker, uuid4().hex
    asked = manifest_of(officer, request=request)
    async with example(client, officer, "kafka_alone.py", tmp_path, request) as program:
        root = bytes.fromhex((await program.until(rf"requested {asked.request_id} ([0-9a-f]{{64}})\s"))[1])
        async for event in client.gateway.follow(asked.request_id, officer.user):
            if event.kind == "otp-dispatched":
                code = await otp_of(client, officer, event.data["reference_code"])
                await client.gateway.authorise(asked.request_id, officer.user, root=root, pin=officer.pin, otp=code)
        await program.ends()
    assert f"completed ['{request}-1'] []" in program.said


async def test_a_timeline_is_followed_from_the_first_event_to_completed(client: Client, officers: Officers) -> None:
    request = await client.press(officers.maker, papers(3))
    told = []
    async for event in client.gateway.follow(request.id, officers.maker.user):
        told.append(event)
        if event.kind == "otp-dispatched":
            code = await otp_of(client, officers.maker, read(Dispatch, event.data).reference_code)
            await request.authorise(otp=code)
    assert [event.seq for event in told] == list(range(1, len(told) + 1))
    assert {one.document_id for one in read(Result, told[-1].data).posted} == {one.entry.id for one in request.papers}
    assert [event async for event in client.gateway.follow(request.id, officers.maker.user, after=told[-1].seq)] == []
    await request.end()


async def test_what_the_platform_posted_is_proved_offline(client: Client, officers: Officers, tmp_path: Path) -> None:
    request = await client.press(officers.maker, papers(2))
    await request.sign()
    paper = request.papers[1]
    seen = request.seen.documents[paper.entry.id]
    assert seen.verified is not None
    assert seen.posted is not None
    trust = await client.trust.pem_for(seen.verified)
    write_evidence(tmp_path / "r", content=paper.content, verified=seen.verified, posted=seen.posted, trust=trust)
    root = await asyncio.to_thread((client.stack.layout.pki / "root.pem").read_bytes)
    proven = verify_record(tmp_path / "r", root=root)
    assert (proven.request_id, proven.document_id, proven.user) == (request.id, paper.entry.id, officers.maker.user)


async def test_the_same_manifest_is_the_same_request_and_another_one_is_a_conflict(
    client: Client, officers: Officers
) -> None:
    asked = manifest_of(officers.maker, 2)
    first = await client.gateway.start(asked)
    assert await client.gateway.start(asked) == first
    other = manifest_of(officers.maker, 2, request=asked.header.request)
    with pytest.raises(Problem) as refused:
        await client.gateway.start(other)
    assert refused.value.status == 409
    await eventually(partial(known, client, asked), "the status")
    await client.gateway.cancel(asked.request_id, asked.user)


async def known(client: Client, asked: Manifest) -> bool:
    try:
        return bool((await client.gateway.status(asked.request_id, asked.user)).dispatches)
    except Problem as problem:
        if problem.status != 404:
            raise
        return False


async def test_the_medium_of_an_officer_is_told(client: Client, officers: Officers) -> None:
    await registered(client, officers.maker.user, officers.maker.credential_id, ["gateway"])
    await certified(client, officers.maker.credential_id, "good", ["gateway"])
    medium = await client.gateway.medium(officers.maker.user)
    assert (medium.user, medium.medium) == (officers.maker.user, "roaming-otp")
    assert medium.certificate is not None
    assert medium.certificate.status == "good"


async def test_another_code_is_asked_for_and_told_in_the_status(client: Client, officers: Officers) -> None:
    request = await client.press(officers.maker, papers(1))
    await request.otp()
    resend = await client.gateway.resend(request.id, officers.maker.user, channel="e-mail")

    async def answered() -> int | None:
        status = await client.gateway.status(request.id, officers.maker.user)
        return next((one.number for one in status.resends if one.resend == resend), None)

    assert await eventually(answered, "the second code") == 2
    await request.sign()


async def test_a_token_signs_what_was_asked_over_http(client: Client, tmp_path: Path) -> None:
    """From the token's certification request to posted documents, with the SDK alone on the officer's side."""
    folder = await asyncio.to_thread(TokenFolder.create, tmp_path / "hsm")
    async with opened(folder, RSA) as token:
        signer = await TokenOfficer.enrol(client, token)
        asked = manifest_of(signer.officer, 3)
        await client.gateway.start(asked)
        async for event in client.gateway.follow(asked.request_id, asked.user):
            if event.kind == "medium-resolved":
                signatures = await signer.signatures(token, asked)
                assert await client.gateway.token_signatures(asked.request_id, asked.user, signatures) == 3
    assert {one.document_id for one in read(Result, event.data).posted} == {one.id for one in asked.documents}


async def test_a_device_without_a_screen_gives_the_code(client: Client) -> None:
    officer, device = await client.enrol(algorithm="p-256"), Device.new()
    event = device_registration_of(officer.user, device, client.registrars, registration=uuid4())
    await client.chain.send(topics.DEVICE_REGISTRATION_SUBMITTED, event)
    await phone_is_known(client, officer.user, device.device_id, ("medium_lookup", "otp_dispatch", "gateway"))
    request = await client.press(officer, papers(1))
    dispatched = await request.dispatched()
    async with client.stack.mobile(device, officer.user) as phone:
        message = await phone.message(dispatched.reference_code, seconds=SECONDS)
    assert (message.request_id, dispatched.device_id) == (request.id, device.device_id)
    client.otps.add(message.otp)
    await request.authorise(otp=message.otp)
    assert len((await request.end()).posted) == 1
