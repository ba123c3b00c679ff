"""The operator's `gpki trace`, `gpki topics` and `gpki doctor`, as processes of their own against the running chain."""

import asyncio
import base64
import os
import re
import shlex
import shutil
import sys
from pathlib import Path
from uuid import uuid4

import httpx
import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.partitioner import DefaultPartitioner

from deploy.native.layout import SERVICES
from deploy.native.parts import operator_environment, service_environment
from libs.contracts import topics
from libs.contracts.signing import OtpDispatched
from libs.runtime.health import HOST
from libs.storage.clock import CHECK as HOST_CLOCK
from tests.support.chain import Client, Officers, papers
from tests.support.command_line import gpki
from tests.support.faults import all_read
from tests.support.journal import dead_letters, of_request

pytestmark = pytest.mark.stack


async def test_a_pukal_is_traced_from_requested_to_completed_in_the_broker_s_order(
    client: Client, officers: Officers
) -> None:
    request = await client.press(officers.maker, papers(60))
    code = await request.otp()
    await request.authorise(otp=code)
    await request.end()

    status, told, why = await gpki(client.stack, "trace", str(request.id))
    assert (status, why) == (0, "")
    lines = told.splitlines()
    assert [line[:24] for line in lines[:-1]] == sorted(line[:24] for line in lines[:-1])
    assert re.search(r"\+0 ms  outside +requested +sah, 60 documents$", lines[0])
    events = [line[44:].split()[1] for line in lines[:-1]]
    assert events[:4] == ["requested", "medium-resolved", "otp-dispatched", "authorisation-submitted-bulk"]
    assert events[-1] == "completed"
    for stage, event in (("hsm_signer", "signed"), ("crl_verifier", "verified"), ("posting", "posted")):
        (line,) = [line for line in lines if re.search(rf"ms  {stage} +{event} ", line)]
        assert re.search(r"\+\d+\.\.\d+ ms .* 60 documents", line)
    assert re.fullmatch(r"Completed at .*Z, .* after it began: 60 posted, 0 rejected\.", lines[-1])

    (dispatched,) = await of_request(client.stack, topics.OTP_DISPATCHED, request.id)
    sent = OtpDispatched.model_validate_json(dispatched.value or b"")
    assert sent.reference_code in told
    for secret in (code, officers.maker.pin, officers.maker.email, base64.b64encode(sent.challenge).decode()[:40]):
        assert secret not in told

    status, told, _ = await gpki(client.stack, "trace", str(request.id), "--every")
    assert status == 0
    for paper in request.papers:
        assert told.count(f"  {paper.entry.id};") + told.count(f"  {paper.entry.id}\n") == 3


async def test_a_request_whose_officer_enters_nothing_is_told_to_wait_for_the_officer(
    client: Client, officers: Officers
) -> None:
    request = await client.press(officers.maker, papers(1))
    reference = (await request.dispatched()).reference_code
    status, told, _ = await gpki(client.stack, "trace", str(request.id))
    assert status == 0
    last = told.splitlines()[-1]
    assert last.startswith("Not completed: the officer has 1 document for ")
    assert f"PIN and OTP are not entered (reference {reference}, by e-mail to p***@anm.example, good until " in last


async def test_a_request_that_nobody_knows_is_an_error(client: Client) -> None:
    unknown = uuid4()
    status, printed, why = await gpki(client.stack, "trace", str(unknown))
    assert (status, printed) == (1, "")
    assert f"error: nothing is known of request {unknown}" in why


async def test_a_request_is_found_wherever_its_producer_s_client_placed_it_and_its_dead_letters_with_it(
    client: Client,
) -> None:
    """Other clients than Java's and ours have another rule of keys to partitions."""
    key = str(uuid4()).encode()
    numbers = list(range(topics.REQUESTED.partitions))
    other = next(number for number in numbers if number != DefaultPartitioner()(key, numbers, numbers))
    producer = AIOKafkaProducer(**client.stack.kafka.options())
    await producer.start()
    try:
        await producer.send_and_wait(topics.REQUESTED.name, value=b"{}", key=key, partition=other)
    finally:
        await producer.stop()
    await dead_letters(client.stack, topics.REQUESTED, key.decode(), count=2)
    status, told, _ = await gpki(client.stack, "trace", key.decode())
    assert status == 0
    assert re.search(r"  outside +requested +cannot be read$", told, re.MULTILINE)
    assert "Not begun: there is no `requested` of it that can be read, only requested." in told
    assert told.count(", open: ") == 2


async def test_topics_stand_as_declared_and_every_group_is_told_with_its_lag(client: Client) -> None:
    await all_read(client.stack)
    status, told, why = await gpki(client.stack, "topics")
    assert (status, why) == (0, "")
    assert "!" not in told
    for topic in topics.TOPICS.values():
        assert told.count(f"{topic.name} ") >= 1
    own = told.partition(f"{topics.SIGNED.name} ")[2].partition("\ngpki.")[0]
    groups = dict(re.findall(r"^    (\S+) +lag (\d+)$", own, re.MULTILINE))
    assert {name.partition(".")[0] for name in groups} == {"crl_verifier", "monitor"}
    assert set(groups.values()) == {"0"}


def findings(told: str) -> dict[str, str]:
    """Each check's state."""
    return {line[6:28].strip(): line[:4].strip() for line in told.splitlines() if not line.startswith("      do: ")}


async def test_a_doctor_of_a_good_stack_finds_every_part_well_and_has_a_test_signature(client: Client) -> None:
    status, told, why = await gpki(client.stack, "doctor")
    assert (status, why) == (0, ""), told
    assert findings(told) == dict.fromkeys(
        (
            *("clock", "Kafka", "PostgreSQL", *SERVICES),
            *("settings", "HSM", "GPKI API", "SMTP", "CRL of root", "CRL of issuing"),
        ),
        "ok",
    )
    assert re.search(r"^ok    HSM .*  test signature made in \d+ ms, and verified, ", told, re.MULTILINE)


@pytest.mark.parametrize("service", SERVICES)
async def test_each_service_says_whether_its_host_s_clock_is_wrong(client: Client, service: str) -> None:
    """Here it is right, and the doctor above has no warning."""
    async with httpx.AsyncClient(trust_env=False) as http:
        answer = await http.get(f"http://{HOST}:{client.stack.layout.ports[f'health_{service}']}/readyz")
    assert answer.json()["checks"][HOST_CLOCK]["detail"] == ""


@pytest.mark.parametrize(
    ("wrong", "failing"),
    [
        ({"GPKI_SMTP_PORT": "1"}, {"SMTP"}),
        ({"GPKI_KAFKA_BOOTSTRAP": "127.0.0.1:1"}, {"Kafka"}),
        ({"GPKI_GATEWAY_URL": "https://127.0.0.1:1"}, {"GPKI API"}),
        ({"GPKI_GATEWAY_URL": "http://127.0.0.1:{gateway}"}, {"GPKI API"}),
        ({"GPKI_GATEWAY_ROOT": "{pki}/service_root.pem"}, {"GPKI API"}),
        ({"GPKI_POSTGRES_USER": "monitor"}, {"PostgreSQL"}),
        ({"GPKI_CRL_BASE_URL": "http://127.0.0.1:1"}, {"CRL of root", "CRL of issuing"}),
        ({"GPKI_CRL_BASE_URL": "http://["}, {"CRL of root", "CRL of issuing"}),
        ({"GPKI_HEALTH_ADDRESSES": "hsm_signer=127.0.0.1:1"}, {"hsm_signer", "HSM"}),
        ({"GPKI_HEALTH_ADDRESSES": "posting=127.0.0.1:{health_hsm_signer}"}, {"posting", "HSM"}),
    ],
)
async def test_a_doctor_names_the_part_that_fails_and_no_other_and_says_what_to_do(
    client: Client, wrong: dict[str, str], failing: set[str]
) -> None:
    """The checks do not depend on each other."""
    layout = client.stack.layout
    given = {name: value.format(**layout.ports, pki=layout.pki) for name, value in wrong.items()}
    status, told, _ = await gpki(client.stack, "doctor", more=given)
    assert status == 1
    assert {name for name, state in findings(told).items() if state == "FAIL"} == failing
    lines = told.splitlines()
    assert all(
        after.startswith("      do: ")
        for line, after in zip(lines, [*lines[1:], ""], strict=True)
        if line[:4] == "FAIL"
    )


async def test_a_doctor_without_a_password_s_file_says_which_it_wants(client: Client, tmp_path: Path) -> None:
    for name in ("kafka_password", "postgres_password"):
        status, printed, why = await gpki(client.stack, "doctor", more={"GPKI_SECRETS_DIR": str(tmp_path)})
        assert (status, printed) == (2, "")
        assert f"there is no file {tmp_path / name}" in why
        shutil.copy(client.stack.layout.secrets("operator") / name, tmp_path)


async def told_to_a_shell(client: Client, *who: str) -> dict[str, str]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "deploy.native", "environment", *who),
        cwd=client.stack.layout.checkout,
        env=os.environ | {"GPKI_STACK_DIR": str(client.stack.layout.state)},
        stdout=asyncio.subprocess.PIPE,
    )
    printed, _ = await process.communicate()
    said = [shlex.split(line) for line in printed.decode().splitlines()]
    assert {word for word, _ in said} == {"export"}
    return dict(pair.split("=", 1) for _, pair in said)


async def test_the_stack_tells_a_shell_what_the_command_line_needs(client: Client) -> None:
    assert await told_to_a_shell(client) == operator_environment(client.stack.layout)


async def test_with_what_the_stack_tells_of_the_signer_custody_is_backed_up_beside_it(
    client: Client, officers: Officers, tmp_path: Path
) -> None:
    signer = await told_to_a_shell(client, "hsm_signer")
    assert signer == service_environment(client.stack.layout, "hsm_signer") | {"GPKI_HEALTH_PORT": "0"}
    backup = tmp_path / "custody.json"
    running = {"GPKI_HEALTH_PORT": str(client.stack.layout.ports["health_hsm_signer"])}
    status, _, why = await gpki(client.stack, "custody", "backup", str(backup), more=signer | running)
    assert status == 0, why
    assert str(officers.maker.credential_id) in backup.read_text()
    for name, because in ((backup, "is there already"), (tmp_path / "none" / "b.json", "there is no folder")):
        status, _, why = await gpki(client.stack, "custody", "backup", str(name), more=signer)
        assert (status, because in why) == (78, True)
    status, _, why = await gpki(client.stack, "custody", "restore", str(backup), more=signer)
    assert (status, "two security officers make it" in why) == (78, True)


async def test_keys_tells_how_many_credentials_are_under_each_key_and_which(client: Client, officers: Officers) -> None:
    operator = operator_environment(client.stack.layout)
    status, told, why = await gpki(client.stack, "keys", more=operator)
    assert (status, why) == (0, "")
    assert re.search(r"^user-wrapping-1 +[\d,]+ keys wrapped$", told, re.MULTILINE)
    assert re.search(r"^pin-pepper-1 +[\d,]+ PINs$", told, re.MULTILINE)
    assert re.search(r"^Argon2id 7,168 KiB x 5 x 1: [\d,]+ PINs$", told, re.MULTILINE)
    status, told, _ = await gpki(client.stack, "keys", "--left", "pin-pepper-1", more=operator)
    assert status == 0
    assert f"{officers.maker.credential_id}  {officers.maker.user}\n" in told
    status, told, why = await gpki(client.stack, "keys", "--left", "pin-peper-1", more=operator)
    assert (status, told, "nobody knows a key" in why) == (1, "", True), "nothing is left under a mistyped name either"
