"""An officer with GPKI Mobile against a full stack: the phone is registered, and read through the gateway's inbox."""

from collections.abc import Sequence
from dataclasses import dataclass

from libs.contracts import topics
from libs.contracts.state import User
from services.gateway.inbox_schemas import Message, Messages
from services.igfmas.enrolment import Officer, device_registered
from tests.support.chain import Client, Request
from tests.support.copies import officer_is
from tests.support.devices import Phone
from tests.support.waiting import eventually


@dataclass(frozen=True)
class Mobile:
    """An officer with GPKI Mobile."""

    client: Client
    officer: Officer
    phone: Phone

    async def message(self, request: Request, number: int = 1) -> Message:
        """The message of a code, once it is in the inbox."""

        async def found() -> Message | None:
            every = (await self.inbox()).messages
            return next((one for one in every if (one.request_id, one.number) == (request.id, number)), None)

        message: Message = await eventually(found, "the message in the inbox")
        return message

    async def inbox(self) -> Messages:
        """What the phone is told."""
        async with self.client.stack.http() as http:
            bearer = {"Authorization": f"Bearer {self.phone.token(self.officer.user)}"}
            answer = await http.get(f"/v1/devices/{self.phone.device_id}/messages", headers=bearer)
        assert answer.status_code == 200, answer.text
        return Messages.model_validate_json(answer.content)

    async def otp(self, request: Request, number: int = 1) -> str:
        """The code, as the officer reads it on the phone."""
        message = await self.message(request, number)
        code = self.phone.read(request.id, message.message)["body"][:6]
        self.client.otps.add(code)
        return code


async def on_phone(client: Client, officer: Officer) -> Mobile:
    """Register a phone, and return when every service knows it."""
    phone = Phone()
    event = device_registered(phone.registration(officer.user), client.registrars)
    await client.chain.send(topics.DEVICE_REGISTRATION_SUBMITTED, event)

    await phone_is_known(client, officer.user, phone.device_id, services=("medium_lookup", "otp_dispatch", "gateway"))
    return Mobile(client, officer, phone)


async def phone_is_known(
    client: Client,
    user: str,
    device_id: str,
    services: Sequence[str] = ("medium_lookup", "otp_dispatch", "gateway", "hsm_signer"),
) -> None:
    """Wait until each of these services has this phone as the officer's own."""

    def has_it(known: User) -> bool:
        return known.device is not None and known.device.device_id == device_id

    await officer_is(client, user, has_it, "the phone", services)
