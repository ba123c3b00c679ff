"""The mail relay: did it take the message, will this mailbox take it later, or never, or could it not be asked."""

from dataclasses import dataclass
from typing import Literal

from aiosmtplib import (
    SMTP,
    SMTPDataError,
    SMTPException,
    SMTPRecipientRefused,
)

from libs.bus.outcomes import Unavailable

RELAY = "relay"
"""The dependency's name in `Unavailable`."""

COMMAND_TIMEOUT = 15.0
"""Seconds that the relay may take to answer one command."""

MESSAGE_TIMEOUT = 60.0
"""Seconds that it may take to answer for a message: who hangs up before gets it delivered, and sends it again. RFC 5321
section 4.5.3.2.6 wants 10 min; an officer is not there so long."""

PROBE_TIMEOUT = 5.0
"""Seconds for connecting and each answer of a probe."""

Tls = Literal["when-offered", "required", "implicit"]


@dataclass(frozen=True)
class Delivered:
    """The relay answered 250 to DATA: it is responsible now (RFC 5321 section 6.1)."""


@dataclass(frozen=True)
class Deferred:
    """This mailbox cannot take it now."""

    code: int


@dataclass(frozen=True)
class Refused:
    """This mailbox will not take it."""

    code: int


Answer = Delivered | Deferred | Refused

NO_ANSWER = Deferred(0)
"""The relay fell silent, or off the line, over this message."""


class Relay:
    """Connections to one relay, kept open between messages: as many as there are calls at a time."""

    def __init__(self, *, host: str, port: int, tls: Tls) -> None:
        self._host = host
        self._port = port
        self._tls = tls
        self._idle: list[SMTP] = []

    async def deliver(self, message: bytes, *, sender: str, recipient: str) -> Answer:
        """Give one message to the relay. Raises Unavailable when it is the relay that does not work.

        Both addresses must be plain: the client would parse anything else, and send to what it makes of it.
        """
        client = await self._take()
        answer: Answer | None = None
        try:
            await _open_transaction(client, sender)
            answer = await _hand_over(client, message, recipient)
        finally:
            if answer not in (None, NO_ANSWER) and client.is_connected:
                self._idle.append(client)
            else:
                client.close()
        if answer == NO_ANSWER:
            # One mailbox can hang a transaction while the relay works: then only that mailbox waits.
            await self.probe()
        return answer

    async def probe(self) -> None:
        """Connect and say EHLO. Raises Unavailable."""
        client = await self._connect(PROBE_TIMEOUT)
        try:
            await client.quit(timeout=PROBE_TIMEOUT)
        except (SMTPException, OSError):
            client.close()

    async def aclose(self) -> None:
        """Close what is idle."""
        while self._idle:
            client = self._idle.pop()
            try:
                await client.quit(timeout=PROBE_TIMEOUT)
            except (SMTPException, OSError):
                client.close()

    async def _take(self) -> SMTP:
        """An idle connection that still answers, or a new one. Raises Unavailable."""
        while self._idle:
            client = self._idle.pop()
            try:
                await client.rset(timeout=PROBE_TIMEOUT)
            except (SMTPException, OSError):
                client.close()
            else:
                return client
        return await self._connect(COMMAND_TIMEOUT)

    async def _connect(self, timeout: float) -> SMTP:  # noqa: ASYNC109 (it is the client's own time-out)
        client = SMTP(
            hostname=self._host,
            port=self._port,
            local_hostname="localhost",  # the default asks the resolver for this host's name, and blocks
            timeout=timeout,
            use_tls=self._tls == "implicit",
            start_tls={"when-offered": None, "required": True, "implicit": False}[self._tls],
        )
        try:
            await client.connect()
            await client.ehlo()
        except (SMTPException, OSError) as error:
            client.close()
            raise Unavailable(RELAY) from error
        client.timeout = COMMAND_TIMEOUT
        return client


async def _open_transaction(client: SMTP, sender: str) -> None:
    """MAIL FROM. What fails before a recipient was named is the relay's matter: raises Unavailable."""
    try:
        await client.mail(sender)
    except (SMTPException, OSError) as error:
        raise Unavailable(RELAY) from error


async def _hand_over(client: SMTP, message: bytes, recipient: str) -> Answer:
    """RCPT TO and DATA: what is answered here concerns this message, whatever the code.

    A relay may close with 421 over one recipient (RFC 5321 section 3.8). The next message opens another connection,
    and that shows whether the relay is away.
    """
    try:
        await client.rcpt(recipient)
        await client.data(message, timeout=MESSAGE_TIMEOUT)
    except (SMTPRecipientRefused, SMTPDataError) as refused:
        return Deferred(refused.code) if refused.code < 500 else Refused(refused.code)
    except (SMTPException, OSError):
        return NO_ANSWER
    return Delivered()
