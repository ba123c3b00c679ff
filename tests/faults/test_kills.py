"""kill -9 of each part in turn during a Pukal of 500: all are posted once after its restart."""

import random

import pytest

from tests.faults.conftest import PUKAL, Pukal
from tests.support.chain import Client, papers
from tests.support.documents import SIGNED
from tests.support.faults import Held, frozen, kill, replaced
from tests.support.waiting import eventually

pytestmark = [pytest.mark.stack, pytest.mark.timeout(240)]

VERIFIED = (
    "SELECT count(*) FROM crl_verifier.outcome WHERE topic = 'gpki.signing.verified.v1' "
    "AND substring(key FOR length($2::bytea)) = $2 AND $1::uuid IS NOT NULL"
)
POSTED = "SELECT count(*) FROM posting.record WHERE request_id = $1"
SHOWN = "SELECT signed FROM gateway.request WHERE request_id = $1"

FIRST, SECOND = range(50, 200), range(250, 400)
"""Documents done when the first and the second blow falls; which number, the seed says."""

# Each blow costs a session time-out, after which the broker gives the dead member's partitions away. The loop itself is
# struck at every moment in tests/integration/bus; here each service is, before or after its commit, the signer both.


async def test_medium_lookup_killed_after_it_recorded(client: Client, pukal: Pukal) -> None:
    await killed_over_one_record(client, pukal, "medium_lookup", "after")
    await pukal.happened_once()


async def test_otp_dispatch_killed_before_it_recorded(client: Client, pukal: Pukal) -> None:
    """The mail was sent and not recorded: it comes again, the same code in it.

    It comes once more for each time that the record could not be made: the lock that this test holds may outlast
    `lock_timeout` on a busy machine. What must hold is one code, one Message-ID.
    """
    await killed_over_one_record(client, pukal, "otp_dispatch", "before")
    await pukal.happened_once(mails=range(2, 10))


async def test_gateway_killed_after_it_promised_an_authorisation(client: Client, pukal: Pukal) -> None:
    """What was stored is published by the retry, or by the next process."""
    await killed_over_one_record(client, pukal, "gateway", "after")
    await pukal.happened_once()


@pytest.mark.parametrize(
    ("service", "done", "blows"),
    [
        ("hsm_signer", SIGNED, ("before", "after")),
        ("crl_verifier", VERIFIED, ("before",)),
        ("posting", POSTED, ("after",)),
    ],
    ids=["hsm_signer", "crl_verifier", "posting"],
)
async def test_document_stage_killed_in_the_middle_of_its_slices(
    client: Client, pukal: Pukal, service: str, done: str, blows: tuple[str, ...]
) -> None:
    seeded, killed = random.Random(service), 0
    for blow, at in zip(blows, (seeded.choice(FIRST), seeded.choice(SECOND)), strict=False):
        async with Held(client.stack, service, "outcome") as held:  # the process after the first blow is not up yet
            if not killed:
                pukal.begin()
            killed = await pukal.caught(held, done, at)
            await strike(client, service, killed, blow, held)
    await replaced(client.stack, service, killed)
    await pukal.happened_once()


async def test_gateway_killed_while_it_follows(client: Client, pukal: Pukal) -> None:
    """The signer stands until the gateway is held, which cannot have followed to the end before it is struck."""
    at = random.Random("gateway").choice(FIRST)
    async with Held(client.stack, "hsm_signer", "outcome") as signing:
        pukal.begin()
        await pukal.caught(signing, SIGNED, at)
        await pukal.reaches(SHOWN, at)
        async with Held(client.stack, "gateway", "timeline") as held:
            await signing.let_go()
            pid = await held.writer()
            assert at <= await pukal.count(SHOWN) < PUKAL, "in the middle"
            kill(pid)
    await replaced(client.stack, "gateway", pid)
    await pukal.happened_once()
    assert pukal.request is not None
    status = await client.value("SELECT posted FROM gateway.request WHERE request_id = $1", pukal.request.id)
    assert status == 500, "the timeline counts every document once"


@pytest.mark.parametrize("service", ["enrolment", "certificate_authority"])
async def test_service_beside_the_chain_killed_in_the_middle(client: Client, pukal: Pukal, service: str) -> None:
    """Nobody waits for it: CRLs and certificates that are known are enough. Afterwards it registers officers again."""
    pukal.begin()
    await pukal.reaches(SIGNED, random.Random(service).choice(FIRST))
    await replaced(client.stack, service, client.stack.kill(service))
    await pukal.happened_once()
    newcomer = await client.enrol(algorithm="p-256")
    assert len((await (await client.press(newcomer, papers(1))).sign()).posted) == 1


@pytest.mark.parametrize("part", ["kafka", "postgres"])
async def test_infrastructure_killed_in_the_middle(client: Client, pukal: Pukal, part: str) -> None:
    pukal.begin()
    await pukal.reaches(SIGNED, random.Random(part).choice(FIRST))
    await replaced(client.stack, part, client.stack.kill(part))
    await pukal.happened_once()


async def killed_over_one_record(client: Client, pukal: Pukal, service: str, blow: str) -> None:
    """Before what follows is committed, or after that and before it is published."""
    async with Held(client.stack, service, "outcome") as held:
        pukal.begin()
        pid = await held.writer()
        await strike(client, service, pid, blow, held)
    await replaced(client.stack, service, pid)


async def strike(client: Client, service: str, pid: int, blow: str, held: Held) -> None:
    """Kill a process that has acted: `before` its commit, or `after` it, with nothing published yet."""
    if blow == "before":
        kill(pid)
        return
    recorded = f"SELECT count(*) FROM {service}.outcome"
    before = await client.value(recorded)
    with frozen(client.stack.pid("kafka")):
        await held.let_go()
        await eventually(lambda: _more(client, recorded, before), f"{service} has committed", every=0.002)
        kill(pid)


async def _more(client: Client, query: str, than: int) -> bool:
    return bool(await client.value(query) > than)
