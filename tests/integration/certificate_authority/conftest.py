"""certificate_authority on the real stack and a real token, in this process, on topics and a schema of its own."""

import os
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding
from pydantic import SecretBytes, SecretStr

from deploy.native.secret_files import ensure_secret
from libs.bus.topics import create_topics
from libs.contracts.enrolment import ApplicationRefused
from libs.contracts.state import Certificate, Key
from libs.contracts.topics import Topic
from libs.crypto.crl import CrlIndex
from libs.crypto.pki import distinguished_name
from libs.crypto.requests import certification_request, new_signing_key
from libs.hsm.provision import provision_token
from libs.runtime.clock import utc_now
from libs.runtime.health import Health
from libs.runtime.secret_files import publish
from services.certificate_authority.app import serve
from services.certificate_authority.provisioning import initialise
from services.certificate_authority.routes import DEFAULT_ROUTES, Routes
from services.certificate_authority.store import MIGRATIONS
from tests.integration.certificate_authority.replica import RoomSettings
from tests.integration.hsm.softhsm import MODULE, SO_PIN, USER_PIN, SoftHsm
from tests.support.bus import ROLE, Room, open_room, waits_for
from tests.support.pki import VALIDATOR, p256_key
from tests.support.service import kafka_settings
from tests.support.stack import Stack
from tests.support.tap import Tap

LABEL = "ca"


@dataclass
class MovableClock:
    """The present, moved by a test."""

    ahead: timedelta = timedelta(0)

    def __call__(self):
        return utc_now() + self.ahead


@dataclass
class Authority:
    """An authority that was initialised, its world, and what it published."""

    room: Room
    settings: RoomSettings
    routes: Routes
    tap: Tap
    registrar: Ed25519PrivateKey
    clock: MovableClock = field(default_factory=MovableClock)
    health: Health = field(default_factory=lambda: Health("none"))

    @asynccontextmanager
    async def running(self) -> AsyncIterator[httpx.AsyncClient]:
        """A replica; yields a client of its CRL server."""
        self.health = Health(self.room.schema)
        async with (
            serve(self.settings, self.health, routes=self.routes, clock=self.clock) as port,
            httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client,
        ):
            yield client

    def waits_for(self, dependency: str) -> bool:
        """Whether the replica has noticed that this dependency is away."""
        return waits_for(self.health, dependency)

    async def init(self) -> None:
        """`init` once more."""
        await initialise(self.settings, Health(self.room.schema), clock=self.clock)

    def ask(self, purpose: str, owner: str, key: Any) -> None:
        """Put an owner's request where `init` finds it."""
        request = certification_request(key, distinguished_name("whatever"))
        publish(self.settings.pki_dir / "requests" / purpose / f"{owner}.csr.pem", request)

    def pem(self, name: str) -> x509.Certificate:
        """A certificate that `init` wrote."""
        return x509.load_pem_x509_certificate((self.settings.pki_dir / name).read_bytes())

    def certificates(self) -> list[Certificate]:
        """Published certificate states, repeats included."""
        return [Certificate.model_validate_json(r.value or b"") for r in self.tap.of(self.routes.certificate)]

    def key_states(self) -> list[Key]:
        """Published key states, repeats included."""
        return [Key.model_validate_json(r.value or b"") for r in self.tap.of(self.routes.keys)]

    def refusals(self) -> list[ApplicationRefused]:
        """Published refusals, repeats included."""
        records = self.tap.of(self.routes.application_refused)
        return [ApplicationRefused.model_validate_json(record.value or b"") for record in records]

    def dead_letters(self, topic: Topic) -> list[str]:
        """The reasons of what was put aside."""
        records = self.tap.of(topic.dead_letter)
        return [bytes(value).decode() for r in records for name, value in r.headers if name == "x-dead-letter-reason"]

    async def certified(self, count: int) -> list[Certificate]:
        """Wait for so many different certificate states; returns them in order of version."""
        await self.tap.until(
            lambda: len({(c.credential_id, c.version) for c in self.certificates()}) >= count, f"{count} states"
        )
        return sorted(self.certificates(), key=lambda state: state.version)

    async def issued(self) -> int:
        """Officers' certificates, reserved ones too."""
        count: int = await self.room.pool.fetchval("select count(*) from certificate where profile = 'officer'")
        return count


async def crl(client: httpx.AsyncClient, issuer: str = "issuing") -> CrlIndex:
    """The CRL that is served, judged by our own reader."""
    response = await client.get(f"/{issuer}.crl")
    certificate = await client.get(f"/{issuer}.cer")
    return CrlIndex.parse(response.content, certificate.content)


def openssl(*arguments: object, given: bytes | None = None) -> "subprocess.CompletedProcess[bytes]":
    """Ask the independent judge."""
    return subprocess.run(["openssl", *map(str, arguments)], input=given, capture_output=True, timeout=20, check=False)


@pytest.fixture(scope="module")
def token(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SoftHsm]:
    """The authorities' token; its keys are made once per module, by the first `init`."""
    created = SoftHsm.create(tmp_path_factory.mktemp("softhsm") / "ca")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(os.environ, "SOFTHSM2_CONF", created.conf)
        provision_token(MODULE, LABEL, SO_PIN, USER_PIN)
        yield created


@pytest_asyncio.fixture(loop_scope="session")
async def authority(stack: Stack, token: SoftHsm, tmp_path: Path) -> AsyncIterator[Authority]:
    """Initialised, not running; it knows two registrars, a caller, producer and sealing authority."""
    own = {name: stack.own(topic) for name, topic in vars(DEFAULT_ROUTES).items()}
    routes = Routes(**own)
    await create_topics(stack.kafka, topics=own.values())
    async with open_room(stack, MIGRATIONS) as room:
        room.owns(*own.values())
        settings = RoomSettings(
            service=room.schema,
            **kafka_settings(stack.kafka),
            postgres_host="127.0.0.1",
            postgres_port=stack.layout.ports["postgres"],
            postgres_user=ROLE,
            postgres_password=SecretStr(ensure_secret(stack.layout.secrets(ROLE), "postgres_password")),
            health_port=0,
            pki_dir=tmp_path / "pki",
            producer_key=SecretBytes(new_signing_key()),
            pkcs11_module=MODULE,
            pkcs11_token_label=LABEL,
            hsm_pin=USER_PIN,
            crl_port=0,
            crl_base_url="http://crl.example/gpki",
        )
        made = Authority(room, settings, routes, await room.tap(*own.values()), Ed25519PrivateKey.generate())
        made.ask("registrar", "mygpki", made.registrar)
        made.ask("registrar", "mygpki-pengesah", VALIDATOR)
        made.ask("caller", "igfmas", Ed25519PrivateKey.generate())
        made.ask("producer", "otp_dispatch", Ed25519PrivateKey.generate())
        made.ask("sealing-authority", "hsm_signer", p256_key())
        await made.init()
        yield made


def trust(authority: Authority, *crls: bytes) -> bytes:
    """Root, issuing CA and CRLs in one PEM file, as `openssl` takes them."""
    parts = [authority.pem(name).public_bytes(Encoding.PEM) for name in ("root.pem", "issuing.pem")]
    return b"".join([*parts, *(x509.load_der_x509_crl(der).public_bytes(Encoding.PEM) for der in crls)])
