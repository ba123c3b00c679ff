"""A process with wrong settings says so at once, completely, and without a single value."""

import os
from pathlib import Path

import pytest
from pydantic import Field, SecretStr, ValidationError

from libs.runtime.settings import ConfigurationError, ServiceSettings, load_settings, unused_names

CANARY = "CANARY-9431"

GOOD = {
    "GPKI_SERVICE": "posting",
    "GPKI_KAFKA_BOOTSTRAP": "127.0.0.1:9092",
    "GPKI_KAFKA_USER": "posting",
    "GPKI_POSTGRES_HOST": "127.0.0.1",
    "GPKI_POSTGRES_USER": "posting",
    "GPKI_HEALTH_PORT": "0",
}


class Settings(ServiceSettings):
    batch: int = 25
    signing_pin: SecretStr
    limits: dict[str, int] = Field(default_factory=dict)


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    for name in list(os.environ):
        if name.upper().startswith("GPKI_"):
            monkeypatch.delenv(name)
    for name, value in GOOD.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("GPKI_SECRETS_DIR", str(tmp_path))
    for name in ("kafka_password", "postgres_password", "signing_pin"):
        (tmp_path / name).write_text(CANARY + "\n")
        (tmp_path / name).chmod(0o600)
    return tmp_path


def fault() -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        load_settings(Settings)
    assert CANARY not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__
    return caught.value.lines


def test_values_come_from_the_environment_and_secrets_from_files(place: Path) -> None:
    settings = load_settings(Settings)
    assert settings.service == "posting"
    assert settings.postgres_port == 5432
    assert settings.postgres_password.get_secret_value() == CANARY
    assert CANARY not in repr(settings)


def test_every_missing_name_is_told_at_once(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in GOOD:
        monkeypatch.delenv(name)
    (place / "postgres_password").unlink()
    lines = fault()
    assert lines == [
        "GPKI_SERVICE: Field required",
        "GPKI_KAFKA_BOOTSTRAP: Field required",
        "GPKI_KAFKA_USER: Field required",
        "GPKI_POSTGRES_HOST: Field required",
        "GPKI_POSTGRES_USER: Field required",
        "$GPKI_SECRETS_DIR/postgres_password: Field required",
        "GPKI_HEALTH_PORT: Field required",
    ]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("GPKI_HEALTH_PORT", CANARY),
        ("GPKI_HEALTH_PORT", "65536"),
        ("GPKI_KAFKA_BOOTSTRAP", CANARY),
        ("GPKI_LOG_LEVEL", CANARY),
        ("GPKI_BATCH", CANARY),
        ("GPKI_STOP_TIMEOUT", "0"),
    ],
)
def test_a_wrong_value_is_named_but_not_shown(
    place: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    (line,) = fault()
    assert line.startswith(f"{name}: ")


def test_a_value_that_cannot_be_parsed_is_not_shown(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GPKI_LIMITS", "{" + CANARY)
    (line,) = fault()
    assert '"limits"' in line


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o644])
def test_a_secret_that_others_can_reach_is_refused_beside_the_other_faults(
    place: Path, monkeypatch: pytest.MonkeyPatch, mode: int
) -> None:
    (place / "postgres_password").chmod(mode)
    monkeypatch.delenv("GPKI_KAFKA_BOOTSTRAP")
    lines = fault()
    assert len(lines) == 2
    assert "chmod 600" in lines[0]
    assert f"{mode:04o}" in lines[0]
    assert lines[1] == "GPKI_KAFKA_BOOTSTRAP: Field required"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away, and read one that is another's")
def test_a_secret_of_another_account_is_refused(place: Path) -> None:
    """Who owns a file can change it, and lend it."""
    os.chown(place / "signing_pin", 65534, 65534)
    (line,) = fault()
    assert "belongs to uid 65534" in line


def test_a_secret_in_the_environment_is_refused(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GPKI_SIGNING_PIN", CANARY)
    (line,) = fault()
    assert line.startswith("GPKI_SIGNING_PIN: ")
    assert "signing_pin" in line


def test_a_secret_that_is_no_regular_file_is_refused(place: Path) -> None:
    (place / "signing_pin").unlink()
    os.mkfifo(place / "signing_pin", 0o600)
    (line,) = fault()
    assert "regular file" in line


def test_unknown_names_are_refused_as_arguments_and_listed_from_the_environment(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GPKI_KAFKA_BOOTSRAP", "x")
    assert unused_names(Settings) == ["GPKI_KAFKA_BOOTSRAP"]
    with pytest.raises(ValidationError, match="extra"):
        Settings(signing_pin="x", postgres_password="y", surprise=1)  # type: ignore[call-arg]


def test_settings_cannot_be_changed(place: Path) -> None:
    with pytest.raises(ValidationError):
        load_settings(Settings).batch = 1  # type: ignore[misc]


def test_every_field_says_what_it_is_for() -> None:
    assert all(field.description for field in ServiceSettings.model_fields.values())
