"""What a process is told from outside: `GPKI_…` variables, and secrets from files that only their owner can read."""

import os
import stat
from pathlib import Path
from typing import Annotated, Any, Final, Literal, TypeVar, get_args

from pydantic import Field, SecretBytes, SecretStr, StringConstraints, ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, SettingsError

from libs.runtime.kafka_access import Bootstrap, KafkaAccess
from libs.runtime.redaction import validation_lines

PREFIX: Final = "GPKI_"
SECRETS_DIR: Final = "GPKI_SECRETS_DIR"
"""Directory with one file per secret, named like its field; the only setting that is not a field."""

MAX_SECRET: Final = 65_536
"""Bytes of one secret file: a PEM bundle at most."""

HELD: Final = "held"
"""In a setting's `Annotated`: two security officers hold it by a policy (libs/bus/settings_policy.py); no secret."""

S = TypeVar("S", bound="ServiceSettings")

Port = Annotated[int, Field(ge=0, le=65_535)]
"""0 lets the system choose, for tests."""


class ConfigurationError(Exception):
    """The settings are missing, wrong or unsafe; `lines` has one text per fault, none of which holds a value."""

    def __init__(self, lines: list[str]) -> None:
        super().__init__("; ".join(lines))
        self.lines = lines


class ServiceSettings(BaseSettings):
    """What every service needs to know; a service subclasses it and adds its own.

    A field `x` comes from `GPKI_X`. A field of type SecretStr or SecretBytes comes only from the file `x` in
    `GPKI_SECRETS_DIR`: the environment of a process is copied to its children and shown by every container tool.
    """

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, extra="forbid", frozen=True, hide_input_in_errors=True, validate_default=True
    )

    service: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z_]{1,40}$")] = Field(
        description="Name of the folder, consumer group, database schema and metric label. No default: a subclass "
        "narrows it to its own name, so that a process started with another's settings refuses to start."
    )
    kafka_bootstrap: Bootstrap = Field(
        description="host:port of one or more brokers, comma-separated. No default: a wrong broker is worse than none."
    )
    kafka_user: Annotated[str, StringConstraints(min_length=1)] = Field(
        description="The service's principal, which may write its own topics only. No default: a shared one hides "
        "mistakes."
    )
    kafka_password: SecretStr = Field(description="File `kafka_password`: the password of that principal.")
    kafka_session_ms: Annotated[int, Field(ge=6_000, le=60_000)] = Field(
        default=10_000,
        description="Milliseconds after which the broker gives a silent replica's partitions to its twin. Less brings "
        "them sooner after a crash, and takes them from a replica that was only slow. The broker's least is 6 s.",
    )
    postgres_host: Annotated[str, StringConstraints(min_length=1)] = Field(
        description="Host, or directory of the Unix socket. No default, as above."
    )
    postgres_port: Port = Field(default=5432, description="PostgreSQL's own default.")
    postgres_database: str = Field(default="gpki", description="One database; a schema and a role per service.")
    postgres_user: Annotated[str, StringConstraints(min_length=1)] = Field(
        description="The service's role, which sees its own schema only. No default: a shared role hides mistakes."
    )
    postgres_password: SecretStr = Field(description="File `postgres_password`: the password of that role.")
    transport_root: Path | None = Field(
        default=None,
        description="PEM of the authority of the TLS certificates of Kafka and PostgreSQL; with it nothing is said to "
        "either without TLS. Without it neither speaks TLS: for one machine, where nothing leaves the loopback.",
    )
    listen_host: Literal["127.0.0.1", "0.0.0.0"] = Field(  # noqa: S104 (it is what a container has to say)
        default="127.0.0.1",
        description="Where this process listens. `0.0.0.0` is for a container, whose network is its own.",
    )
    health_port: Port = Field(
        description="Port of /livez, /readyz and /metrics. No default: every service on a machine has its own."
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        default="INFO", description="DEBUG is for a desk: libraries then print a line per record."
    )
    stop_timeout: Annotated[float, Field(gt=0, le=300)] = Field(
        default=18.0,
        description="Seconds a stop may take before the process ends anyway. Above the longest slice, below the "
        "supervisor's or container's own grace period.",
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments, then the environment; no .env file is ever read."""
        del settings_cls, dotenv_settings, file_secret_settings
        return init_settings, env_settings

    @property
    def kafka(self) -> KafkaAccess:
        """The brokers, and this service as they know it."""
        return KafkaAccess(self.kafka_bootstrap, self.kafka_user, self.kafka_password, self.transport_root)


def load_settings(settings: type[S]) -> S:
    """Read the settings of this process. Raises ConfigurationError with every fault at once, and no value in it."""
    secrets, faults = _read_secrets(settings)
    try:
        loaded = settings(**secrets)
    except ValidationError as error:
        # Never chained: the message of a ValidationError repeats its input, SecretStr or not.
        for line in validation_lines(error):
            field = line.partition(":")[0]
            is_secret = field in secret_fields(settings)
            faults.setdefault(
                field, f"${SECRETS_DIR}/{line}" if is_secret else f"{PREFIX}{field.upper()}{line.removeprefix(field)}"
            )
    except SettingsError as error:
        faults["parsing"] = str(error)  # names field and source only; what could not be parsed is in its cause
    else:
        if not faults:
            return loaded
    raise ConfigurationError(list(faults.values())) from None


def unused_names(settings: type[ServiceSettings]) -> list[str]:
    """`GPKI_…` variables that this service does not know: a typing error, or meant for another service."""
    known = {PREFIX + name.upper() for name in settings.model_fields} | {SECRETS_DIR}
    return sorted(name for name in map(str.upper, os.environ) if name.startswith(PREFIX) and name not in known)


def secret_fields(settings: type[BaseSettings]) -> list[str]:
    """Names of the fields that hold a secret."""
    return [name for name, field in settings.model_fields.items() if _is_secret(field.annotation)]


def _is_secret(annotation: Any) -> bool:
    return annotation in {SecretStr, SecretBytes} or any(_is_secret(part) for part in get_args(annotation))


def _read_secrets(settings: type[ServiceSettings]) -> tuple[dict[str, Any], dict[str, str]]:
    """Contents and faults, by field."""
    secrets: dict[str, Any] = {}
    faults: dict[str, str] = {}
    directory = os.environ.get(SECRETS_DIR)
    for name in secret_fields(settings):
        variable = PREFIX + name.upper()
        if variable in map(str.upper, os.environ):
            faults[name] = f"{variable}: a secret in the environment leaks; put it into ${SECRETS_DIR}/{name}"
        elif directory is not None:
            try:
                content = read_secret(Path(directory) / name)
            except ConfigurationError as fault:
                faults[name] = str(fault)
            else:
                secrets |= {} if content is None else {name: content}
    return secrets, faults


def read_secret(file: Path) -> bytes | None:
    """The content of a secret file, None if there is none.

    Raises ConfigurationError if others could read it, or if it is another account's, who could change it.
    """
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ConfigurationError([f"{file}: {error.strerror}"]) from None
    with os.fdopen(descriptor, "rb") as opened:
        status = os.fstat(opened.fileno())  # of what was opened, not of what the path names by now
        if not stat.S_ISREG(status.st_mode):
            raise ConfigurationError([f"{file}: not a regular file"])
        if status.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
            mode = stat.S_IMODE(status.st_mode)
            raise ConfigurationError([f"{file}: mode {mode:04o} lets others read this secret; chmod 600 it"])
        if status.st_uid != os.geteuid():
            raise ConfigurationError(
                [f"{file}: belongs to uid {status.st_uid}, this process runs as uid {os.geteuid()}; chown it"]
            )
        content = opened.read(MAX_SECRET + 1)
    if len(content) > MAX_SECRET:
        raise ConfigurationError([f"{file}: longer than {MAX_SECRET} bytes"])
    return content.removesuffix(b"\n").removesuffix(b"\r")
