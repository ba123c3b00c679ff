"""Settings that no deployer changes alone: once there are two security officers, a policy of theirs holds them.

A service judges the policy itself, at its start, and does not start with other values (I-60).
"""

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Final

import structlog
from pydantic import TypeAdapter, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import to_json

from libs.bus.security_officers import IN_OFFICE, security_officers
from libs.bus.signing import ProducerSettings
from libs.bus.trust import confirmed_by_two, read_service_root
from libs.contracts.settings_policy import (
    SETTINGS_POLICY_FILE,
    TOKEN_KEY,
    SettingsPolicy,
    SignedSettingsPolicy,
    settings_policy_signature_input,
)
from libs.crypto.errors import CryptoError
from libs.crypto.pki import ServicePurpose
from libs.crypto.service_certificates import ServiceIdentity
from libs.runtime.clock import Clock
from libs.runtime.health import Health
from libs.runtime.settings import HELD, PREFIX, ConfigurationError, ServiceSettings
from libs.storage import policies
from libs.storage.policies import NONE_YET, Seen
from libs.storage.pool import Pool

CHECK: Final = "settings"
"""The check in /readyz that says under which policy a service runs."""

NOT_HELD: Final = "not held by a policy"

HSM_SETTING: Final = "pkcs11_token_label"
"""The setting that a service with an HSM token has (libs/hsm/settings.py, which only those can import)."""

REMEDY: Final = "two security officers sign one (`gpki policy approve`)"

log = structlog.get_logger()


def held(settings: type[ServiceSettings]) -> Mapping[str, FieldInfo]:
    """The settings of a service that a policy holds, by name."""
    return {name: field for name, field in settings.model_fields.items() if HELD in field.metadata}


async def hold(
    settings: ProducerSettings, health: Health, pool: Pool, clock: Clock, *, token_key: str | None = None
) -> None:
    """Return if the service may run with these settings, and remember the policy that says so.

    `token_key` is the id of the key by which the service's HSM token is known. Raises ConfigurationError with a
    sentence per setting that is not what the policy says, or one that says why there is no policy.
    """
    wanted = held(type(settings))
    assert (token_key is None) is (HSM_SETTING not in wanted), "a service with a token says its key"
    if not wanted:
        return
    root, now = read_service_root(settings.pki_dir), clock()
    officers = security_officers(settings.pki_dir, root, now)
    async with pool.acquire() as connection:
        before = await policies.newest(connection)
        if before is None and people(officers.values()) >= IN_OFFICE:
            before = await policies.remember(connection, NONE_YET)
        if before is None:
            log.warning("settings are held by no policy: there are no two security officers", service=settings.service)
            health.set(CHECK, ok=True, detail=NOT_HELD)
            return
        signed = read(settings.pki_dir)
        ours = Seen(signed.policy.version, signed.policy.digest)
        if ours == before:  # what was in force stays so when its signers' certificates expire
            officers = security_officers(settings.pki_dir, root, now, lapsed=True)
        refused = fault(signed, officers, before)
        if refused is None and await policies.remember(connection, ours) != ours:
            refused = "is not the newest: another replica has met a later one, or another of its number"
    if refused is not None:
        raise _refusal(settings.pki_dir, refused)
    differing = list(differences(signed.policy, settings, token_key))
    if differing:
        raise ConfigurationError(differing)
    log.info("settings are held by a policy", service=settings.service, version=ours.version)
    health.set(CHECK, ok=True, detail=in_force(ours.version))


def in_force(version: int) -> str:
    """What a service says in CHECK of the policy under which it runs."""
    return f"held by policy {version}"


def read(pki_dir: Path) -> SignedSettingsPolicy:
    """The policy that lies there, whoever signed it. Raises ConfigurationError."""
    file = pki_dir / SETTINGS_POLICY_FILE
    try:
        signed = SignedSettingsPolicy.model_validate_json(file.read_bytes())
        settings_policy_signature_input(signed.policy)
    except FileNotFoundError:
        raise ConfigurationError([f"there is no {file}; {REMEDY}"]) from None
    except (OSError, ValidationError, CryptoError):
        raise ConfigurationError([f"{file} is no policy; {REMEDY}"]) from None
    return signed


def stated(pki_dir: Path, at: datetime) -> tuple[SettingsPolicy, bool] | None:
    """The policy that lies there, and whether it counts anywhere: None while no two security officers were certified.

    One whose signers' certificates have expired counts only where a service has met it before.
    Raises ConfigurationError: a sentence that says what is wrong with it.
    """
    root = read_service_root(pki_dir)
    once = security_officers(pki_dir, root, at, lapsed=True)
    if people(once.values()) < IN_OFFICE:
        return None
    signed = read(pki_dir)
    refused = fault(signed, once)
    if refused is not None:
        raise _refusal(pki_dir, refused)
    return signed.policy, fault(signed, security_officers(pki_dir, root, at)) is None


def _refusal(pki_dir: Path, why: str) -> ConfigurationError:
    return ConfigurationError([f"{pki_dir / SETTINGS_POLICY_FILE} {why}; {REMEDY}"])


def people(officers: Iterable[ServiceIdentity]) -> int:
    """How many there are, by their certificates' names."""
    return len({one.name for one in officers})


def fault(
    signed: SignedSettingsPolicy, officers: Mapping[str, ServiceIdentity], before: Seen | None = None
) -> str | None:
    """Why this policy is not in force, as the end of a sentence; None when it is. `before` was the newest until now."""
    pairs = [(officers.get(one.key_id), one.signature) for one in signed.signatures]
    if not confirmed_by_two(pairs, settings_policy_signature_input(signed.policy), ServicePurpose.SECURITY_OFFICER):
        return "is not signed by two security officers, two different people"
    version = signed.policy.version
    if before is not None and version < before.version:
        return f"has number {version}, and {before.version} was in force here: an older one does not come back"
    if before is not None and version == before.version and signed.policy.digest != before.sha256:
        return f"is not the one of number {version} that was in force here: a change has the next number"
    return None


def differences(policy: SettingsPolicy, settings: ServiceSettings, token_key: str | None = None) -> Iterator[str]:
    """A sentence for each setting that is not what the policy says of this service."""
    told = dict(policy.settings.get(settings.service, {}))
    by = f"policy {policy.version} of the security officers"
    if token_key is not None and told.pop(TOKEN_KEY, None) != token_key:
        yield f"the HSM token's key is {token_key}, and {by} does not say so: it is another token, or {REMEDY}"
    for name, field in held(type(settings)).items():
        variable, actual = PREFIX + name.upper(), getattr(settings, name)
        kind: TypeAdapter[Any] = TypeAdapter(Annotated[field.annotation, *field.metadata])  # type: ignore[arg-type]
        if name in told:
            try:
                wanted = kind.validate_json(to_json(told.pop(name)))
            except ValidationError:
                yield f"{variable}: what {by} says is no value that this setting can have; {REMEDY}"
                continue
        elif field.is_required():
            yield f"{variable} is {_shown(kind, actual)}, and {by} does not name it; {REMEDY}"
            continue
        else:
            wanted = field.get_default(call_default_factory=True, validated_data={})
        if actual != wanted:
            says = _shown(kind, wanted)
            yield f"{variable} is {_shown(kind, actual)}, and {by} says {says}: put it back, or {REMEDY}"
    for name in sorted(told):
        yield f"{by} holds {name} of {settings.service}, which is no setting that can be held; {REMEDY}"


def _shown(kind: TypeAdapter[Any], value: Any) -> str:
    """No setting that is held is a secret."""
    plain = kind.dump_python(value, mode="json")
    return to_json(sorted(plain) if isinstance(plain, list) else plain).decode()
