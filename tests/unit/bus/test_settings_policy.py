"""What a policy of settings says of a service, and which files are one."""

import json
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from pydantic import Field

from libs.bus.security_officers import FOLDER, security_officers
from libs.bus.settings_policy import differences, fault, held, read, stated
from libs.contracts.enrolment import AdministratorSignature
from libs.contracts.settings_policy import (
    SETTINGS_POLICY_FILE,
    TOKEN_KEY,
    SettingsPolicy,
    SignedSettingsPolicy,
    settings_policy_signature_input,
)
from libs.crypto.public_keys import public_key_id
from libs.runtime.secret_files import publish
from libs.runtime.settings import HELD, ConfigurationError, ServiceSettings
from libs.storage.policies import Seen
from tests.support.pki import EPOCH, Pki


class Settings(ServiceSettings):
    """Settings of a kind each."""

    label: Annotated[str, HELD] = Field()
    ceiling: Annotated[Annotated[Decimal, Field(ge=0)] | None, HELD] = None
    media: Annotated[frozenset[str], HELD] = frozenset({"a", "b"})
    kept: Annotated[timedelta, HELD] = timedelta(hours=24)
    port: Annotated[int, HELD] = 25
    free: str = "x"


NEEDED: dict[str, Any] = {
    "service": "otp_dispatch",
    "kafka_bootstrap": "127.0.0.1:1",
    "kafka_user": "x",
    "kafka_password": "x",
    "postgres_host": "x",
    "postgres_user": "x",
    "postgres_password": "x",
    "health_port": 0,
    "label": "users",
}


def said(told: dict[str, Any], token_key: str | None = None, **actual: Any) -> list[str]:
    policy = SettingsPolicy.model_validate_json(json.dumps({"version": 3, "settings": {"otp_dispatch": told}}))
    return list(differences(policy, Settings(**NEEDED | actual), token_key))


@pytest.mark.parametrize(
    ("told", "actual"),
    [
        ({}, {}),
        ({"ceiling": "1000"}, {"ceiling": Decimal("1000.00")}),
        ({"ceiling": None}, {"ceiling": None}),
        ({"media": ["b"]}, {"media": frozenset("b")}),
        ({"media": ["b", "a"]}, {}),
        ({"kept": "PT48H"}, {"kept": timedelta(days=2)}),
        ({"port": 587}, {"port": 587}),
        ({}, {"free": "y"}),
    ],
    ids=str,
)
def test_a_setting_is_what_the_policy_says_or_else_its_default(told: dict[str, Any], actual: dict[str, Any]) -> None:
    """I-60."""
    assert said({"label": "users", **told}, **actual) == []


BY = "policy 3 of the security officers"


@pytest.mark.parametrize(
    ("told", "actual", "sentence"),
    [
        ({"ceiling": "1000"}, {}, f'GPKI_CEILING is null, and {BY} says "1000": put it back'),
        ({}, {"ceiling": "1"}, f'GPKI_CEILING is "1", and {BY} says null: put it back'),
        ({"media": ["a"]}, {}, f'GPKI_MEDIA is ["a","b"], and {BY} says ["a"]: put it back'),
        ({}, {"kept": timedelta(days=9)}, f'GPKI_KEPT is "P9D", and {BY} says "P1D": put it back'),
        ({"label": "other"}, {}, f'GPKI_LABEL is "users", and {BY} says "other": put it back'),
        ({"ceiling": "-1"}, {}, f"GPKI_CEILING: what {BY} says is no value that this setting can have"),
        ({"port": ["x"]}, {}, f"GPKI_PORT: what {BY} says is no value that this setting can have"),
        ({"free": "x"}, {}, f"{BY} holds free of otp_dispatch, which is no setting that can be held"),
        ({TOKEN_KEY: "ab"}, {}, f"{BY} holds token_key of otp_dispatch, which is no setting that can be held"),
    ],
    ids=str,
)
def test_a_setting_that_is_another_is_named_with_both_values(
    told: dict[str, Any], actual: dict[str, Any], sentence: str
) -> None:
    """I-60."""
    (found,) = said({"label": "users", **told}, **actual)
    assert found.startswith(sentence)
    assert "`gpki policy approve`" in found


def test_what_has_no_default_is_in_the_policy_and_so_is_the_key_of_a_token() -> None:
    """I-60."""
    (found,) = said({})
    assert found.startswith('GPKI_LABEL is "users", and policy 3 of the security officers does not name it')
    (found,) = said({"label": "users"}, token_key="ab")
    assert found.startswith("the HSM token's key is ab, and policy 3 of the security officers does not say so")
    assert said({"label": "users", TOKEN_KEY: "ab"}, token_key="ab") == []
    assert list(held(Settings)) == ["label", "ceiling", "media", "kept", "port"]


@pytest.fixture
def pki() -> Pki:
    return Pki()


@pytest.fixture
def folder(pki: Pki, tmp_path: Path) -> Path:
    (tmp_path / "service_root.pem").write_bytes(pki.service_root.certificate.public_bytes(Encoding.PEM))
    return tmp_path


def policy(pki: Pki, folder: Path, version: int = 1) -> SignedSettingsPolicy:
    """Signed by two, whose certificates are written."""
    wanted, signatures = SettingsPolicy(version=version, settings={}), []
    for name in ("aminah", "kamarul"):
        officer = pki.security_officer(name)
        publish(folder / FOLDER / f"{name}.pem", officer.pem)
        key_id = public_key_id(officer.key.public_key())
        signature = officer.key.sign(settings_policy_signature_input(wanted))
        signatures.append(AdministratorSignature(key_id=key_id, signature=signature))
    signed = SignedSettingsPolicy(policy=wanted, signatures=tuple(signatures))
    publish(folder / SETTINGS_POLICY_FILE, signed.model_dump_json().encode())
    return signed


def test_a_policy_is_in_force_by_two_and_none_before_it_is(pki: Pki, folder: Path) -> None:
    """I-60."""
    root = pki.service_root.certificate.public_bytes(Encoding.DER)
    assert stated(folder, EPOCH) is None
    signed = policy(pki, folder, 3)
    assert stated(folder, EPOCH) == (signed.policy, True)
    officers = security_officers(folder, root, EPOCH)
    digest = signed.policy.digest
    assert [fault(signed, officers, before) for before in (None, Seen(2, b"x"), Seen(3, digest))] == [None] * 3
    assert "an older one" in (fault(signed, officers, Seen(4, digest)) or "")
    assert "the next number" in (fault(signed, officers, Seen(3, b"x")) or "")
    later = EPOCH + timedelta(days=400)
    assert fault(signed, security_officers(folder, root, later), Seen(3, digest)) is not None
    assert fault(signed, security_officers(folder, root, later, lapsed=True), Seen(3, digest)) is None
    assert stated(folder, later) == (signed.policy, False)
    (folder / SETTINGS_POLICY_FILE).write_text(signed.model_copy(update={"signatures": ()}).model_dump_json())
    with pytest.raises(ConfigurationError, match="two different people"):
        stated(folder, EPOCH)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{}",
        b"[" * 100_000,
        b'{"policy": {"version": 0, "settings": {}}}',
        b'{"policy": {"version": 9007199254740992, "settings": {}}}',
        b'{"policy": {"version": 1, "settings": {"s": {"a": 1e999}}}}',
        b'{"policy": {"version": 1, "settings": {"s": {"a": 9007199254740992}}}}',
        b'{"policy": {"version": 1, "settings": {"s": {"a": "\\ud800"}}}}',
        b'{"policy": {"version": 1, "settings": {"s": {"a": {}}}}}',
        b'{"policy": {"version": 1, "settings": {}, "also": 1}}',
    ],
    ids=str,
)
def test_what_is_no_policy_is_said_to_be_none(pki: Pki, folder: Path, content: bytes) -> None:
    """I-60: whoever wrote it."""
    policy(pki, folder)
    (folder / SETTINGS_POLICY_FILE).write_bytes(content)
    for ask in (lambda: read(folder), lambda: stated(folder, EPOCH)):
        with pytest.raises(ConfigurationError, match="is no policy"):
            ask()
    (folder / SETTINGS_POLICY_FILE).unlink()
    with pytest.raises(ConfigurationError, match="there is no"):
        read(folder)
