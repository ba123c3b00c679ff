"""The relay's answers: taken, later, never, and "could not ask" are never merged."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager

import pytest

from libs.bus.outcomes import Unavailable
from services.otp_dispatch import relay as module
from services.otp_dispatch.relay import Deferred, Delivered, Refused, Relay
from tests.integration.otp_dispatch.sink import HOST, Sink, free_port

SENDER = "no-reply@gpki.example"
MESSAGE = b"Subject: x\r\n\r\n.\r\nbody\r\n"


async def deliver(relay: Relay, recipient: str) -> object:
    return await relay.deliver(MESSAGE, sender=SENDER, recipient=recipient)


async def test_a_mail_is_delivered_when_the_relay_took_it_and_the_connection_is_kept(sink: Sink) -> None:
    await sink.start()
    relay = Relay(host=HOST, port=sink.port, tls="when-offered")
    assert await deliver(relay, "siti@anm.example") == Delivered()
    assert await deliver(relay, "siti@anm.example") == Delivered()
    assert len(relay._idle) == 1
    first, _ = sink.mails("siti@anm.example")
    assert first.get_content() == ".\r\nbody\r\n"
    await relay.aclose()
    assert relay._idle == []


@pytest.mark.parametrize(
    ("rule", "answer"),
    [
        ({"rcpt": "450 4.2.1 busy"}, Deferred(450)),
        ({"data": "451 4.3.0 later"}, Deferred(451)),
        ({"rcpt": "550 5.1.1 unknown"}, Refused(550)),
        ({"data": "554 5.6.0 no"}, Refused(554)),
    ],
    ids=str,
)
async def test_one_mailboxs_answer_is_that_mailboxs_alone(
    sink: Sink, rule: dict[str, str], answer: Deferred | Refused
) -> None:
    await sink.start()
    relay = Relay(host=HOST, port=sink.port, tls="when-offered")
    sink.rules(**{"siti@anm.example": rule})
    assert await deliver(relay, "siti@anm.example") == answer
    assert await deliver(relay, "ali@anm.example") == Delivered()
    await relay.aclose()


@pytest.mark.parametrize("command", ["RCPT", "DATA", "."])
async def test_a_relay_that_closes_over_one_message_defers_that_message_alone(command: str) -> None:
    async with closing_relay(command) as relay:
        assert await deliver(relay, "siti@anm.example") == Deferred(421)
        assert await deliver(relay, "ali@anm.example") == Delivered()
        assert await deliver(relay, "siti@anm.example") == Deferred(421)


@pytest.mark.parametrize("command", ["", "EHLO", "MAIL"])
async def test_a_relay_that_closes_before_a_recipient_was_named_is_away(command: str) -> None:
    async with closing_relay(command) as relay:
        for mailbox in ("siti@anm.example", "ali@anm.example"):
            with pytest.raises(Unavailable, match="relay"):
                await deliver(relay, mailbox)


async def test_a_relay_that_hangs_up_before_a_recipient_was_named_is_away() -> None:
    async with closing_relay("MAIL", reply=b"") as relay:
        with pytest.raises(Unavailable, match="relay"):
            await deliver(relay, "ali@anm.example")


async def test_a_relay_that_hangs_up_over_one_message_defers_that_message_alone() -> None:
    async with closing_relay("RCPT", reply=b"") as relay:
        assert await deliver(relay, "siti@anm.example") == Deferred(0)
        assert await deliver(relay, "ali@anm.example") == Delivered()


async def test_a_mailbox_that_hangs_waits_alone_while_the_relay_answers(
    sink: Sink, monkeypatch: pytest.MonkeyPatch
) -> None:
    await sink.start()
    relay = Relay(host=HOST, port=sink.port, tls="when-offered")
    sink.rules(**{"siti@anm.example": {"held": True}})
    hanging = asyncio.create_task(deliver(relay, "siti@anm.example"))
    assert await deliver(relay, "ali@anm.example") == Delivered()
    assert not hanging.done()
    monkeypatch.setattr(module, "MESSAGE_TIMEOUT", 0.5)
    assert await deliver(relay, "siti@anm.example") == Deferred(0)
    sink.rules()
    assert await hanging == Delivered()
    await relay.aclose()


async def test_a_relay_that_is_not_there_or_no_relay_is_away(sink: Sink) -> None:
    nobody = Relay(host=HOST, port=free_port(), tls="when-offered")
    with pytest.raises(Unavailable):
        await nobody.probe()
    with pytest.raises(Unavailable):
        await deliver(nobody, "siti@anm.example")
    rude = await asyncio.start_server(_refuse, HOST, 0)
    async with rude:
        relay = Relay(host=HOST, port=rude.sockets[0].getsockname()[1], tls="when-offered")
        with pytest.raises(Unavailable):
            await relay.probe()
        with pytest.raises(Unavailable):
            await deliver(relay, "siti@anm.example")


async def test_no_mail_leaves_in_the_clear_where_tls_is_required(sink: Sink) -> None:
    await sink.start()
    relay = Relay(host=HOST, port=sink.port, tls="required")
    with pytest.raises(Unavailable):
        await deliver(relay, "siti@anm.example")
    assert sink.mails("siti@anm.example") == []


async def test_a_kept_connection_that_died_costs_no_mail(sink: Sink) -> None:
    await sink.start()
    relay = Relay(host=HOST, port=sink.port, tls="when-offered")
    assert await deliver(relay, "siti@anm.example") == Delivered()
    await sink.kill()
    await sink.start()
    assert await deliver(relay, "siti@anm.example") == Delivered()
    assert len(sink.mails("siti@anm.example")) == 2
    await relay.aclose()


async def _refuse(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"554 5.3.2 not today\r\n")
    writer.close()


@asynccontextmanager
async def closing_relay(command: str, *, reply: bytes = b"421 4.3.2 closing\r\n") -> AsyncIterator[Relay]:
    """A relay that answers so and hangs up, at this command: before a recipient is named to all, then to siti only."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        recipient = b""

        def closes(at: str) -> bool:
            return at == command and (b"siti" in recipient or at in {"", "EHLO", "MAIL"})

        async def talk() -> None:
            nonlocal recipient
            if closes(""):
                return
            writer.write(b"220 here\r\n")
            while line := await reader.readline():
                verb = line[:4].decode().strip().upper()
                recipient = line if verb == "RCPT" else recipient
                if closes(verb):
                    return
                if verb == "DATA":
                    writer.write(b"354 go on\r\n")
                    await reader.readuntil(b"\r\n.\r\n")
                    if closes("."):
                        return
                writer.write(b"250 ok\r\n")

        await talk()
        writer.write(reply)
        writer.close()

    server = await asyncio.start_server(serve, HOST, 0)
    relay = Relay(host=HOST, port=server.sockets[0].getsockname()[1], tls="when-offered")
    async with server, aclosing(relay):
        yield relay
