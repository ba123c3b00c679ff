"""Asks each part what it is asked by those who need it. Every check is bounded and knows nothing of the others."""

import asyncio
import contextlib
import ssl
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, Final

import asyncpg
import httpx
from cryptography import x509

from libs.bus.settings_policy import stated
from libs.bus.topics import administration, declared_shapes
from libs.contracts.topics import TOPICS
from libs.runtime.clock import Clock
from libs.runtime.kafka_access import KafkaAccess
from libs.runtime.settings import ConfigurationError
from libs.runtime.transport import client_context
from libs.storage.migrations import LEDGER_MIGRATIONS, digest_of, files
from services.operations import diagnosis
from services.operations.cluster import existing
from services.operations.database import LEDGERS, MIGRATIONS, Database, connection, look_into
from services.operations.diagnosis import Finding
from services.operations.topic_table import replication

SECONDS: Final = 5.0
"""For one check, whole."""

MAX_BYTES: Final = 64 * 1024 * 1024
"""Of one HTTP answer: a CRL of a million entries takes 25 to 40 MB."""

AUTHORITIES: Final = ("root", "issuing")
"""`<name>.crl` at the CRL server, `<name>.pem` in GPKI_PKI_DIR."""

SIGNER: Final = "hsm_signer"

Check = Callable[[], Awaitable[Finding]]

_DATE_SLACK: Final = timedelta(seconds=2)
"""HTTP's Date is cut to the second, and the server makes it once a second."""


class NotAnsweredError(Exception):
    """A part answered something else than it should; the text says what, and holds nothing of the answer."""


@dataclass(frozen=True)
class Stack:
    """Where everything is. `health` has HOST:PORT of each service that is asked: plain HTTP, of its host or network."""

    kafka: KafkaAccess
    database: Database
    smtp_host: str
    smtp_port: int
    smtp_tls: str
    gateway_url: str
    gateway_root: Path
    crl_base_url: str
    pki_dir: Path
    health: Mapping[str, str]


async def examine(stack: Stack, clock: Clock) -> list[Finding]:
    """All checks at once; the findings in a fixed order. Takes SECONDS at most, and raises nothing."""
    async with httpx.AsyncClient(timeout=SECONDS, follow_redirects=False, trust_env=False) as client:
        asking = _Asking(stack, clock, client)
        checks: dict[str, tuple[Check, str]] = {
            "clock": (asking.clock, "ask again"),
            "Kafka": (asking.kafka, "see that the broker runs (`make status`, its log) and that this is its address"),
            "PostgreSQL": (
                asking.postgres,
                "see that the server runs (`make status`, its log), address and password file",
            ),
            **{
                name: (asking.service(name), f"see that {name} runs (`make status`), and its log")
                for name in stack.health
            },
            "settings": (
                asking.settings,
                "have two security officers sign the policy (docs/runbook.md: A setting is held)",
            ),
            "HSM": (asking.hsm, f"the HSM is asked by {SIGNER} alone: see to that first"),
            "GPKI API": (
                asking.api,
                "see that its address is right, and its TLS certificate (docs/runbook.md, `TLS of the GPKI API`)",
            ),
            "SMTP": (asking.smtp, "see that the relay takes connections from this host at this address and port"),
            **{
                f"CRL of {name}": (asking.crl(name), "see that certificate_authority runs, and what is at that address")
                for name in AUTHORITIES
            },
        }
        return await asyncio.gather(*(_bounded(name, *check) for name, check in checks.items()))


async def _bounded(name: str, check: Check, do: str) -> Finding:
    try:
        async with asyncio.timeout(SECONDS):
            return await check()
    except TimeoutError:
        return Finding(name, "FAIL", f"no answer within {SECONDS:.0f} s", do)
    except NotAnsweredError as error:
        return Finding(name, "FAIL", str(error), do)
    except ValueError:
        return Finding(name, "FAIL", "answers what it should not: it is another part, or broken", do)
    except Exception as error:  # noqa: BLE001 (whatever a client raises is this check's finding, and stops no other)
        return Finding(name, "FAIL", f"cannot be asked ({type(error).__name__})", do)


class _Asking:
    """The questions, one each."""

    def __init__(self, stack: Stack, clock: Clock, client: httpx.AsyncClient) -> None:
        self._stack = stack
        self._clock = clock
        self._client = client

    async def clock(self) -> Finding:
        ahead: dict[str, timedelta] = {}
        for who, ask in (("PostgreSQL", self._database_time), ("the gateway", self._gateway_time)):
            with contextlib.suppress(Exception):  # one that tells no time has a check of its own
                async with asyncio.timeout(SECONDS / 3):
                    ahead[who] = await ask()
        return diagnosis.clock(ahead)

    async def _database_time(self) -> timedelta:
        async with connection(self._stack.database, as_name="gpki doctor") as asked:
            before = self._clock()
            there: datetime = await asked.fetchval("SELECT clock_timestamp()")
            return before + (self._clock() - before) / 2 - there

    async def _gateway_time(self) -> timedelta:
        answer = await self._ask_api()
        here = self._clock()
        try:
            there = parsedate_to_datetime(answer.headers.get("Date", ""))
        except ValueError:
            raise NotAnsweredError("no Date") from None
        if there <= here <= there + _DATE_SLACK:
            return timedelta(0)
        return here - there if here < there else here - there - _DATE_SLACK

    async def kafka(self) -> Finding:
        async with administration(self._stack.kafka, timeout_ms=int(SECONDS * 1000)) as admin:
            names = declared_shapes(TOPICS.values(), 1)
            found = await existing(admin, names)
        return diagnosis.kafka(declared_shapes(TOPICS.values(), replication(found)), found)

    async def postgres(self) -> Finding:
        wanted = {
            schema: {
                name: digest_of(file)
                for name, file in files([LEDGER_MIGRATIONS, folder] if schema in LEDGERS else [folder]).items()
            }
            for schema, folder in MIGRATIONS.items()
        }
        applied: dict[str, dict[str, bytes] | None] = {}
        async with connection(self._stack.database, as_name="gpki doctor") as asked:
            for schema in wanted:
                await look_into(asked, schema)
                try:
                    rows = await asked.fetch("SELECT name, sha256 FROM migration")
                except (asyncpg.UndefinedTableError, asyncpg.InsufficientPrivilegeError):
                    applied[schema] = None
                else:
                    applied[schema] = {row["name"]: row["sha256"] for row in rows}
        return diagnosis.migrations(wanted, applied)

    def service(self, name: str) -> Check:
        async def check() -> Finding:
            return diagnosis.readiness(name, await self._report(name))

        return check

    async def settings(self) -> Finding:
        try:
            policy = await asyncio.to_thread(stated, self._stack.pki_dir, self._clock())
        except ConfigurationError as error:
            raise NotAnsweredError(str(error)) from None
        running: dict[str, str] = {}
        for name in self._stack.health:
            with contextlib.suppress(Exception):  # who does not answer has a check of its own
                running |= diagnosis.held(name, await self._report(name))
        if policy is None:
            return diagnosis.settings(None, running)
        return diagnosis.settings(policy[0].version, running, everywhere=policy[1])

    async def hsm(self) -> Finding:
        if SIGNER not in self._stack.health:
            raise NotAnsweredError(f"GPKI_HEALTH_ADDRESSES does not name {SIGNER}")
        return diagnosis.hsm(await self._report(SIGNER))

    async def api(self) -> Finding:
        answer = await self._ask_api()
        shown = answer.extensions["network_stream"].get_extra_info("ssl_object").getpeercert()
        return diagnosis.api(datetime.fromtimestamp(ssl.cert_time_to_seconds(shown["notAfter"]), UTC), self._clock())

    async def _ask_api(self) -> httpx.Response:
        """What it answers does not matter here: who speaks to it has judged its certificate."""
        context = client_context(self._stack.gateway_root)
        assert context is not None
        async with httpx.AsyncClient(timeout=SECONDS, verify=context, trust_env=False) as client:
            return await client.get(self._stack.gateway_url)

    async def smtp(self) -> Finding:
        implicit = ssl.create_default_context() if self._stack.smtp_tls == "implicit" else None
        reader, writer = await asyncio.open_connection(self._stack.smtp_host, self._stack.smtp_port, ssl=implicit)
        try:
            await _reply(reader, b"220")
            writer.write(b"EHLO localhost\r\n")
            extensions = await _reply(reader, b"250")
            writer.write(b"QUIT\r\n")
            await writer.drain()
        finally:
            writer.close()
        return diagnosis.smtp(extensions, tls=self._stack.smtp_tls)

    def crl(self, name: str) -> Check:
        async def check() -> Finding:
            der = await self._get(f"{self._stack.crl_base_url}/{name}.crl")
            file = self._stack.pki_dir / f"{name}.pem"
            if not file.is_file():
                raise NotAnsweredError(f"cannot be judged: there is no {file}")
            return await asyncio.to_thread(_judge, name, der, file.read_bytes(), self._clock())

        return check

    async def _report(self, name: str) -> dict[str, Any]:
        answer = await self._client.get(f"http://{self._stack.health[name]}/readyz")
        report = answer.json()
        if not isinstance(report, dict) or report.get("service") != name:
            raise NotAnsweredError("another program is at its health port")
        return report

    async def _get(self, url: str) -> bytes:
        body = bytearray()
        async with self._client.stream("GET", url) as answer:
            if answer.status_code != httpx.codes.OK:
                raise NotAnsweredError(f"HTTP {answer.status_code}")
            async for part in answer.aiter_raw():
                body += part
                if len(body) > MAX_BYTES:
                    raise NotAnsweredError(f"longer than {MAX_BYTES} bytes")
        return bytes(body)


async def _reply(reader: asyncio.StreamReader, code: bytes) -> list[str]:
    """The lines of one reply, without their code."""
    told = []
    while True:
        line = await reader.readline()
        if not line.startswith(code):
            raise NotAnsweredError(f"is no relay that takes mail: answered otherwise than {code.decode()}")
        told.append(line[4:].decode("ascii", "replace").strip())
        if line[3:4] == b" ":
            return told


def _judge(name: str, der: bytes, pem: bytes, now: datetime) -> Finding:
    """Off the loop: the signature is over all of it."""
    crl, issuer = x509.load_der_x509_crl(der), x509.load_pem_x509_certificate(pem)
    genuine = crl.issuer == issuer.subject and crl.is_signature_valid(issuer.public_key())  # type: ignore[arg-type]
    until = crl.next_update_utc
    if until is None:
        raise NotAnsweredError("has no nextUpdate")
    return diagnosis.crl(name, this_update=crl.last_update_utc, next_update=until, now=now, genuine=genuine)
