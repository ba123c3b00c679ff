"""A mail relay of a test's own, that it can take away, and make unwilling."""

import asyncio
import json
import socket
import sys
from dataclasses import dataclass
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import SMTP
from pathlib import Path
from typing import Any

from libs.bus.outcomes import Unavailable
from services.otp_dispatch.relay import Relay
from tests.support.stack import WITH_US
from tests.support.waiting import eventually

HOST = "127.0.0.1"


def free_port() -> int:
    """A port on which nobody listens now."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


@dataclass
class Sink:
    """The SMTP sink of the embedded stack as a process, down until `start`."""

    folder: Path
    port: int
    process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Start unless it runs, and wait until it answers EHLO."""
        if self.process is not None:
            return
        command = (*WITH_US, sys.executable, "-m", "deploy.native.smtp_sink", "--port", str(self.port))
        folders = ("--folder", str(self.folder / "mail"), "--rules", str(self.folder / "rules.json"))
        self.process = await asyncio.create_subprocess_exec(*command, *folders, stdout=asyncio.subprocess.DEVNULL)
        relay = Relay(host=HOST, port=self.port, tls="when-offered")

        process = self.process

        async def answers() -> bool:
            assert process.returncode is None, "it has ended, and whoever answers is another"
            try:
                await relay.probe()
            except Unavailable:
                return False
            return True

        await eventually(answers, "the sink answers")

    async def kill(self) -> None:
        """End it at once, if it runs."""
        if self.process is not None:
            self.process.kill()
            await self.process.wait()
            self.process = None

    def rules(self, **mailboxes: dict[str, Any]) -> None:
        """How mailboxes are treated from now on, by address; see `deploy.native.smtp_sink.Rule`."""
        new = self.folder / "rules.new"
        new.write_text(json.dumps(mailboxes))
        new.replace(self.folder / "rules.json")

    def mails(self, address: str) -> list[EmailMessage]:
        """What was kept for an address, oldest first."""
        kept = [
            message_from_bytes(file.read_bytes(), EmailMessage, policy=SMTP)
            for file in sorted((self.folder / "mail").glob("*.eml"))
        ]
        return [mail for mail in kept if address in str(mail["X-Envelope-To"]).split(", ")]
