"""The officer at the mailbox, played by the demonstration: reads the OTP from the files that the SMTP sink keeps.

A real iGFMAS never sees a mailbox; the officer reads the message and types the code.
"""

import asyncio
import email
import os
import re
import time
from email.message import EmailMessage
from email.policy import SMTP
from pathlib import Path
from typing import Final

READ_EVERY: Final = 0.02
"""Seconds between two looks into the folder."""

_OTP: Final = re.compile(r"^([0-9]{6}) ialah OTP anda\. Rujukan ([0-9A-Z]{3,8})\.", re.MULTILINE)


class NoMail(Exception):
    """No message with this reference code came in time."""


class Mailbox:
    """Messages by address and reference code. Used from one event loop; each file is read once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._known = {file.name for file in folder.glob("*.eml")}
        self._codes: dict[tuple[str, str], dict[str, str]] = {}
        """By address and reference code: Message-ID → code, oldest first."""

    async def otp(self, address: str, reference_code: str, *, seconds: float, message: str | None = None) -> str:
        """The OTP that goes with the reference code on the screen. Raises NoMail.

        Reference codes are short and come again: of two messages with the same one the newest counts, or the one with
        this Message-ID.
        """
        deadline = time.monotonic() + seconds
        while True:
            self._read_new()
            codes = self._codes.get((address.lower(), reference_code), {})
            code = codes.get(message or next(reversed(codes), ""))
            if code is not None:
                return code
            if time.monotonic() > deadline:
                raise NoMail(f"no message with reference {reference_code} within {seconds:.0f} s")
            await asyncio.sleep(READ_EVERY)

    def _read_new(self) -> None:
        # By their names alone, and sorted only what is new: there may be thousands, and a look every 20 ms.
        with os.scandir(self._folder) as entries:
            new = {entry.name for entry in entries if entry.name.endswith(".eml")} - self._known
        for name in sorted(new):
            self._known.add(name)
            message = email.message_from_bytes((self._folder / name).read_bytes(), EmailMessage, policy=SMTP)
            body = message.get_body(("plain",))
            found = _OTP.search(body.get_content() if body is not None else "")
            if found:
                for address in str(message["X-Envelope-To"]).split(", "):
                    codes = self._codes.setdefault((address.lower(), found[2]), {})
                    codes[str(message["Message-ID"])] = found[1]
