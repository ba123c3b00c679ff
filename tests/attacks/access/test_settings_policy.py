"""Change of settings: media, ceilings, the relay, the HSM. Who deploys changes none alone, and no security officer."""

import asyncio
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from libs.bus import settings_policy
from libs.bus.security_officers import FOLDER
from libs.contracts.settings_policy import (
    TOKEN_KEY,
    SettingsPolicy,
    SignedSettingsPolicy,
)
from libs.crypto.public_keys import public_key_id
from libs.hsm.provision import provision_token
from libs.runtime.clock import utc_now
from libs.runtime.health import Health
from libs.runtime.secret_files import publish
from libs.runtime.settings import ConfigurationError
from libs.storage import policies
from libs.storage.policies import NONE_YET, Seen
from services.otp_dispatch.app import serve as serve_otp_dispatch
from services.posting.app import MIGRATIONS as POSTING_MIGRATIONS
from services.posting.app import serve as serve_posting
from services.posting.init import initialise
from services.posting.log_key import LogKey
from services.posting.settings import Settings as PostingSettings
from tests.attacks.access.test_two_people import believed
from tests.integration.hsm.softhsm import LABEL, MODULE, SO_PIN, USER_PIN, SoftHsm
from tests.integration.otp_dispatch.conftest import Dispatching, dispatching, shared_sink
from tests.integration.otp_dispatch.test_failures import process
from tests.support.bus import Room, open_room
from tests.support.ministry import PEOPLE, Ministry
from tests.support.pki import Pki
from tests.support.producers import Hands
from tests.support.service import common_settings
from tests.support.stack import Stack

__all__ = ["dispatching", "shared_sink"]

pytestmark = pytest.mark.stack

HIGH, LOW = "50000.00", "1000.00"


@dataclass(kw_only=True)
class Deployed(Ministry):
    """otp_dispatch, as who deploys starts it with one ceiling or another."""

    world: Dispatching
    health: Health = field(default_factory=lambda: Health("none"))

    def settings(self, ceiling: str | None) -> dict[str, Any]:
        """What a policy says of this service, with that ceiling."""
        relay = {"smtp_host": self.world.settings.smtp_host, "smtp_port": self.world.settings.smtp_port}
        return relay | ({} if ceiling is None else {"email_otp_ceiling_myr": ceiling})

    def policy(self, version: int, ceiling: str | None, people: Sequence[str] = PEOPLE) -> SignedSettingsPolicy:
        """Signed by these."""
        draft = self.draft(version, **{self.world.room.schema: self.settings(ceiling)})
        return self.sign(draft, *(self.officers[name] for name in people))

    async def starts(self, ceiling: str | None, *, ahead: timedelta = timedelta(0)) -> None:
        """Raises ConfigurationError."""
        self.health = Health(self.world.room.schema)
        wanted = None if ceiling is None else Decimal(ceiling)
        settings = self.world.settings.model_copy(update={"email_otp_ceiling_myr": wanted})
        async with serve_otp_dispatch(settings, self.health, self.world.routes, clock=lambda: utc_now() + ahead):
            pass

    async def refused(self, ceiling: str | None, **more: Any) -> str:
        """Why it does not start."""
        with pytest.raises(ConfigurationError) as caught:
            await self.starts(ceiling, **more)
        return str(caught.value)

    def said(self) -> str:
        """What the service last reported of the policy."""
        checks: Any = self.health.report()["checks"]
        return str(checks[settings_policy.CHECK]["detail"])


@pytest.fixture
def deployed(dispatching: Dispatching, tmp_path: Path) -> Deployed:
    return Deployed(dispatching.pki, dispatching.settings.pki_dir, tmp_path / "own", world=dispatching)


@pytest.fixture
def office(deployed: Deployed) -> Deployed:
    """Two security officers are certified."""
    for name in PEOPLE:
        deployed.certify(name)
    return deployed


def forget(monkeypatch: pytest.MonkeyPatch, before: Seen | None) -> None:
    """Switch the memory of the service off."""

    async def newest(_connection: object) -> Seen | None:
        return before

    async def remember(_connection: object, policy: Seen) -> Seen:
        return policy

    monkeypatch.setattr(policies, "newest", newest)
    monkeypatch.setattr(policies, "remember", remember)


async def test_who_deploys_changes_no_setting_alone_once_there_are_two_security_officers(deployed: Deployed) -> None:
    """ADM-1, I-60: before that, any; and by the policy, the one that it says."""
    await deployed.starts(HIGH)
    assert deployed.said() == settings_policy.NOT_HELD
    deployed.certify(PEOPLE[0])
    deployed.certify(PEOPLE[0], file="another key of the same person")
    await deployed.starts(HIGH)
    deployed.certify(PEOPLE[1])
    assert "there is no" in await deployed.refused(HIGH)
    deployed.put(deployed.policy(1, LOW))
    await deployed.starts(LOW)
    assert deployed.said() == "held by policy 1"
    why = await deployed.refused(HIGH)
    for part in ("GPKI_EMAIL_OTP_CEILING_MYR", HIGH, LOW, "policy 1", "gpki policy approve"):
        assert part in why
    assert "GPKI_EMAIL_OTP_CEILING_MYR is null" in await deployed.refused(None)
    deployed.put(deployed.policy(2, HIGH))
    assert "GPKI_EMAIL_OTP_CEILING_MYR" in await deployed.refused(LOW)
    await deployed.starts(HIGH)


async def test_a_service_that_may_not_start_ends_with_78_and_says_why(office: Deployed) -> None:
    """I-60: as a supervisor and a person see it."""
    office.put(office.policy(1, LOW))
    office.world.settings = office.world.settings.model_copy(update={"email_otp_ceiling_myr": Decimal(HIGH)})
    async with process(office.world, stderr=asyncio.subprocess.PIPE) as child:
        _, said = await asyncio.wait_for(child.communicate(), 60)
    assert child.returncode == os.EX_CONFIG
    assert f'configuration: GPKI_EMAIL_OTP_CEILING_MYR is "{HIGH}"' in said.decode()


@pytest.mark.parametrize(
    "signers",
    ["nobody", "one", "one, twice", "one person with two keys", "one and a registrar", "another ministry", "changed"],
)
async def test_what_no_two_security_officers_signed_is_no_policy(
    office: Deployed, monkeypatch: pytest.MonkeyPatch, signers: str
) -> None:
    """ADM-1, I-60."""
    office.certify(PEOPLE[0], file="again")
    registrar = office.pki.registrar("mygpki")
    publish(office.pki_dir / FOLDER / "mygpki.pem", registrar.pem)
    elsewhere = Pki(now=utc_now())
    strangers = [elsewhere.security_officer(name) for name in PEOPLE]
    for one, name in zip(strangers, PEOPLE, strict=True):
        publish(office.pki_dir / FOLDER / f"{name}-of-another.pem", one.pem)
    first, second = (office.officers[name] for name in PEOPLE)
    by = {
        "nobody": (),
        "one": (first,),
        "one, twice": (first, first),
        "one person with two keys": (first, office.officers["again"]),
        "one and a registrar": (first, registrar),
        "another ministry": strangers,
        "changed": (first, second),
    }[signers]
    draft = office.draft(1, **{office.world.room.schema: office.settings(LOW)})
    nobodys = SignedSettingsPolicy(policy=SettingsPolicy.model_validate_json(draft.read_bytes()))
    signed = office.sign(draft, *by) if by else nobodys
    if signers == "changed":
        changed = {office.world.room.schema: office.settings(HIGH)}
        signed = signed.model_copy(update={"policy": SettingsPolicy(version=1, settings=changed)})
    ceiling = HIGH if signers == "changed" else LOW
    office.put(signed)
    assert "two different people" in await office.refused(ceiling)
    monkeypatch.setattr(settings_policy, "confirmed_by_two", believed)
    await office.starts(ceiling)


@pytest.mark.parametrize("again", ["an older one", "another of the same number"])
async def test_a_policy_of_before_does_not_come_back(
    office: Deployed, monkeypatch: pytest.MonkeyPatch, again: str
) -> None:
    """I-60: though two signed it; a service that was refused for its settings has met it, too."""
    before = office.policy(1 if again == "an older one" else 2, HIGH)
    office.put(office.policy(2, LOW))
    assert "GPKI_EMAIL_OTP_CEILING_MYR" in await office.refused(HIGH)
    office.put(before)
    assert "was in force here" in await office.refused(HIGH)
    with monkeypatch.context() as patch:
        forget(patch, NONE_YET)
        await office.starts(HIGH)
    assert "was in force here" in await office.refused(HIGH)


@pytest.mark.parametrize("when", ["a policy was in force", "there was none yet"])
async def test_who_takes_policy_and_certificates_away_switches_nothing_off(
    office: Deployed, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    """I-60: a service that has once met two security officers, or their policy, starts without none."""
    if when == "there was none yet":
        assert "there is no" in await office.refused(HIGH)
    else:
        office.put(office.policy(1, LOW))
        await office.starts(LOW)
    office.take_away()
    assert "there is no" in await office.refused(HIGH)
    forget(monkeypatch, None)
    await office.starts(HIGH)


async def test_a_policy_in_force_outlives_its_signers_certificates_and_no_other_does(office: Deployed) -> None:
    """I-60: a service that is started again years later is not kept from it."""
    office.put(office.policy(1, LOW))
    await office.starts(LOW)
    years = timedelta(days=400)
    await office.starts(LOW, ahead=years)
    office.put(office.policy(2, LOW))
    assert "two different people" in await office.refused(LOW, ahead=years)
    await office.starts(LOW)


class PostingRoom(PostingSettings):
    """Settings under a name of the test's own."""

    service: str  # type: ignore[assignment]


@asynccontextmanager
async def token(folder: Path, patch: pytest.MonkeyPatch) -> AsyncIterator[None]:
    """A token by that label, in a place of its own."""
    made = SoftHsm.create(folder)
    patch.setitem(os.environ, "SOFTHSM2_CONF", made.conf)
    provision_token(MODULE, LABEL, SO_PIN, USER_PIN)
    yield


async def opens(settings: PostingSettings) -> str:
    """The id of the key in the token, by all that posting itself asks of it."""
    async with LogKey.open(settings) as key:
        return public_key_id(key.public.public)


async def starts(settings: PostingSettings, room: Room) -> None:
    """As far as the policy goes: what follows would post. Raises ConfigurationError."""
    async with LogKey.open(settings) as key:
        token_key = public_key_id(key.public.public)
        await settings_policy.hold(settings, Health(room.schema), room.pool, utc_now, token_key=token_key)


async def test_another_hsm_token_with_its_own_pinned_key_takes_two_security_officers(
    stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ADM-1, I-60: who deploys can write the file that pins the log's key as well."""
    ministry = Ministry(Pki(now=utc_now()), tmp_path / "pki", tmp_path / "own")
    publish(ministry.pki_dir / "service_root.pem", ministry.pki.service_root.certificate.public_bytes(Encoding.PEM))
    async with open_room(stack, POSTING_MIGRATIONS) as room:
        settings = PostingRoom(
            **common_settings(stack, "posting") | {"service": room.schema},
            producer_key=Hands(ministry.pki).secret(room.schema),
            pki_dir=ministry.pki_dir,
            pkcs11_module=MODULE,
            pkcs11_token_label=LABEL,
            hsm_pin=USER_PIN,
        )
        keys = []
        for name in ("first", "second"):
            (ministry.pki_dir / "log.vkey").unlink(missing_ok=True)
            async with token(tmp_path / name, monkeypatch):
                await initialise(settings, Health(room.schema))
                keys.append(await opens(settings))
        assert len(set(keys)) == 2
        await starts(settings, room)  # nobody holds it yet: the second token is as good as the first
        for person in PEOPLE:
            ministry.certify(person)
        held = {room.schema: {"pkcs11_token_label": LABEL, TOKEN_KEY: keys[0]}}
        ministry.put(ministry.sign(ministry.draft(1, **held), *ministry.officers.values()))
        with pytest.raises(ConfigurationError, match=f"HSM token's key is {keys[1]}"):
            async with serve_posting(settings, Health(room.schema)):
                pass
        held = {room.schema: {"pkcs11_token_label": LABEL, TOKEN_KEY: keys[1]}}
        ministry.put(ministry.sign(ministry.draft(2, **held), *ministry.officers.values()))
        await starts(settings, room)
        other = settings.model_copy(update={"pkcs11_token_label": "another"})
        with pytest.raises(ConfigurationError, match="GPKI_PKCS11_TOKEN_LABEL"):
            await settings_policy.hold(other, Health(room.schema), room.pool, utc_now, token_key=keys[1])
