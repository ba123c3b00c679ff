"""`gpki order`: registrars' orders with a key file each, as processes of their own against the running chain."""

from collections.abc import Awaitable
from dataclasses import replace
from pathlib import Path

import pytest

from libs.contracts import topics
from libs.contracts.reasons import Reason
from services.igfmas.enrolment import Officer
from tests.support.chain import Client, papers
from tests.support.command_line import gpki
from tests.support.copies import certified
from tests.support.producers import append, as_service, send_as_service

pytestmark = pytest.mark.stack

Ran = tuple[int, str, str]


def order(client: Client, officer: Officer, what: str, *more: str, by: str = "registrar_key") -> Awaitable[Ran]:
    """The command of one registrar."""
    key = client.stack.layout.secrets("igfmas") / by
    return gpki(client.stack, "order", what, officer.user, "--key", str(key), *more)


async def status(client: Client, *officers: Officer) -> list[str]:
    """What the certificates are, as far as everybody has been told now."""
    await client.chain.drain()
    return [client.chain.certificates[officer.credential_id].status for officer in officers]


async def test_one_registrar_suspends_and_two_with_a_key_each_lift_and_one_revokes(
    client: Client, tmp_path: Path
) -> None:
    """I-53."""
    officer = await client.enrol(algorithm="p-256")
    file = ("--file", str(tmp_path / "lift.json"))
    early, _, why = await order(client, officer, "lift", *file)
    assert (early, "no suspension to lift" in why) == (1, True)

    done, told, why = await order(client, officer, "suspend")
    assert (done, why) == (0, ""), told
    assert told.startswith(officer.name)
    assert "is suspended since" in told
    await certified(client, officer.credential_id, "suspended")
    refused = await (await client.press(officer, papers(1))).end()
    assert [one.reason for one in refused.rejected] == [Reason.CERTIFICATE_SUSPENDED]

    first, told, _ = await order(client, officer, "lift", *file)
    assert (first, "not sent" in told) == (0, True)
    twice, _, why = await order(client, officer, "lift", *file)
    assert (twice, "another registrar's" in why) == (1, True)
    other = await client.enrol(algorithm="p-256")
    await client.desk.suspend(other)
    foreign, _, why = await order(client, other, "lift", *file, by="validator_key")
    assert (foreign, "for something else" in why) == (1, True)
    assert await status(client, officer, other) == ["suspended", "suspended"]
    second, told, why = await order(client, officer, "lift", *file, by="validator_key")
    assert (second, why, "is good since" in told) == (0, "", True)
    await certified(client, officer.credential_id, "good")
    assert (await (await client.press(officer, papers(1))).sign()).posted

    reason = ("--reason", "key-compromise")
    asked, _, why = await order(client, officer, "revoke", *reason)
    assert (asked, await status(client, officer), "--yes" in why) == (1, ["good"], True)
    done, told, why = await order(client, officer, "revoke", *reason, "--yes")
    assert (done, why, "is revoked since" in told) == (0, "", True)


async def test_two_registrars_unlock_a_pin_and_one_that_is_not_locked_is_told(client: Client, tmp_path: Path) -> None:
    officer = await client.enrol(algorithm="p-256")
    request = await client.press(officer, papers(1))
    code = await request.otp()
    for _ in range(3):
        await request.failure(await request.authorise(otp=code, pin="bukan-pin-ini"))
    await request.end()

    async def unlock(name: str) -> Ran:
        file = ("--file", str(tmp_path / name))
        assert (await order(client, officer, "unlock", *file))[0] == 0
        return await order(client, officer, "unlock", *file, by="validator_key")

    done, told, why = await unlock("first.json")
    assert (done, why, "is unlocked" in told) == (0, "", True)
    assert (await (await client.press(officer, papers(1))).sign()).posted
    again, _, why = await unlock("second.json")
    assert (again, "nothing was unlocked" in why) == (1, True)


async def test_who_writes_to_the_broker_does_not_have_an_order_made_about_another_officer(client: Client) -> None:
    """I-46: a state that its producer did not sign says nothing of whose certificate is meant."""
    officer, other = await client.enrol(algorithm="p-256"), await client.enrol(algorithm="p-256")
    known = client.chain.users[officer.user]
    lie = known.model_copy(update={"credential_id": other.credential_id, "version": known.version + 1})
    await append(client.stack, as_service(client.stack, topics.USER, lie, by="gateway", source="enrolment"))
    done, told, _ = await order(client, officer, "suspend")
    assert (done, str(officer.credential_id) in told) == (0, True)
    assert await status(client, officer, other) == ["suspended", "good"]

    await send_as_service(client.stack, topics.USER, lie)  # the enrolment service itself is believed
    done, told, _ = await order(client, officer, "suspend")
    assert (done, str(other.credential_id) in told, await status(client, other)) == (0, True, ["suspended"])


async def test_nobody_is_nobody(client: Client) -> None:
    nobody = replace(client.new_officer(), user="000000000000")
    done, told, why = await order(client, nobody, "suspend")
    assert (done, told, "no officer 000000000000" in why) == (1, "", True)
