"""SMTP sink: takes any mail and keeps each message as one file, durable before it answers 250."""

import argparse
import asyncio
import itertools
import json
import logging
import os
import signal
import ssl
import sys
import time
from pathlib import Path
from typing import Any

from aiosmtpd.smtp import SMTP, Envelope, Session
from pydantic import BaseModel, ConfigDict, Field

from deploy.native.ports import HOST

MAX_MESSAGE_BYTES = 1_048_576
LOOK = 0.05
"""Seconds between two looks at the rule of a message that is held."""

log = logging.getLogger("smtp_sink")


class Rule(BaseModel):
    """How the sink treats one mailbox: what it answers instead of 250, and how long it waits before it answers."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    rcpt: str | None = Field(default=None, pattern=r"^[45]\d\d ")
    """Answer to RCPT TO, for example "450 4.2.1 Mailbox busy"."""
    data: str | None = Field(default=None, pattern=r"^[45]\d\d ")
    """Answer after DATA, for example "451 4.3.0 Try later"; the message is not kept."""
    seconds: float = Field(default=0, ge=0, le=300)
    """Delay before the answer to DATA."""
    held: bool = False
    """No answer to DATA for as long as the rule says so."""


class Keeper:
    """aiosmtpd handler: one .eml per message; `rules` (address, or "*", to Rule) is read again for every command."""

    def __init__(self, folder: Path, rules: Path) -> None:
        self._folder = folder
        self._rules = rules
        self._numbers = itertools.count()

    async def handle_RCPT(  # noqa: N802 (name given by aiosmtpd)
        self, _server: SMTP, _session: Session, envelope: Envelope, address: str, _options: list[str]
    ) -> str:
        """Accept a recipient, unless its rule refuses."""
        refusal = self._rule(address).rcpt
        if refusal:
            return refusal
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 OK"

    async def handle_DATA(  # noqa: N802 (name given by aiosmtpd)
        self, _server: SMTP, _session: Session, envelope: Envelope
    ) -> str:
        """Keep the message and answer 250 only after it and its directory entry are on the disk."""
        rules = [self._rule(address) for address in envelope.rcpt_tos]
        await asyncio.sleep(max((rule.seconds for rule in rules), default=0))
        while any(rule.held for rule in rules):
            await asyncio.sleep(LOOK)
            rules = [self._rule(address) for address in envelope.rcpt_tos]
        for rule in rules:
            if rule.data:
                return rule.data
        content = envelope.content
        body = content if isinstance(content, bytes) else str(content or "").encode()
        header = f"X-Envelope-From: {envelope.mail_from}\r\nX-Envelope-To: {', '.join(envelope.rcpt_tos)}\r\n"
        name = f"{time.time_ns():020d}-{os.getpid()}-{next(self._numbers)}.eml"
        try:
            await asyncio.to_thread(write_durably, self._folder / name, header.encode() + body)
        except OSError as error:
            log.error("message not kept: %s", error)  # noqa: TRY400 (the errno says it; the sink goes on)
            return "452 4.3.1 Insufficient system storage"
        return f"250 2.0.0 kept {name}"

    def _rule(self, address: str) -> Rule:
        try:
            rules: dict[str, Any] = json.loads(self._rules.read_text())
        except FileNotFoundError:
            return Rule()
        return Rule.model_validate(rules.get(address.lower(), rules.get("*", {})))


def write_durably(file: Path, content: bytes) -> None:
    """Write a file so that it is there wholly, and survives a crash, or not at all. Raises OSError."""
    temporary = file.with_suffix(".part")
    with temporary.open("wb") as out:
        out.write(content)
        out.flush()
        os.fsync(out.fileno())
    temporary.rename(file)
    directory = os.open(file.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


async def serve(host: str, port: int, folder: Path, rules: Path, keys: Path | None) -> None:
    """Serve until SIGTERM or SIGINT; with `keys`, a PEM of key and certificate, STARTTLS is offered."""
    keeper = Keeper(folder, rules)
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    context = None
    if keys is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(keys)
    server = await loop.create_server(
        lambda: SMTP(
            keeper,
            hostname="localhost",
            data_size_limit=MAX_MESSAGE_BYTES,
            enable_SMTPUTF8=True,
            tls_context=context,
            loop=loop,
        ),
        host=host,
        port=port,
    )
    log.info("listening on %s:%s, keeping messages in %s", host, port, folder)
    try:
        await stop.wait()
    finally:
        server.close()


def main() -> None:
    """Command line: --port, --folder, --rules; --host and --tls where there is a network."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--host", default=HOST)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--rules", type=Path, required=True)
    parser.add_argument("--tls", type=Path)
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, stream=sys.stdout, format="%(asctime)s %(levelname)s %(message)s")
    logging.getLogger("mail.log").setLevel(logging.WARNING)  # aiosmtpd logs every command, addresses included
    arguments.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    asyncio.run(serve(arguments.host, arguments.port, arguments.folder, arguments.rules, arguments.tls))


if __name__ == "__main__":
    main()
