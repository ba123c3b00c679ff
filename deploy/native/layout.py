"""Where everything of one embedded stack lies: names, folders, files and ports."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from deploy.native import ports

CHECKOUT = Path(__file__).resolve().parents[2]

SERVICES = (
    "enrolment",
    "certificate_authority",
    "medium_lookup",
    "otp_dispatch",
    "hsm_signer",
    "crl_verifier",
    "posting",
    "gateway",
    "monitor",
)
"""The services that run as processes (`python -m services.<name>`), in the order in which they are listed; each has
one PostgreSQL role, schema and secrets directory."""

BROKERS = ("kafka", "kafka_2", "kafka_3")
"""Kafka's brokers, each its own controller too; a stack has the first, or all three."""

PORT_NAMES = (
    "kafka",
    "kafka_controller",
    "postgres",
    "smtp",
    "gateway",
    "crl",
    *(f"health_{name}" for name in SERVICES),
    *(f"{name}{kind}" for name in BROKERS[1:] for kind in ("", "_controller")),
)

DATABASE = "gpki"

ADMINISTRATOR = "administrator"
"""Whose secrets are those of the superusers of Kafka and PostgreSQL; no service and no operator is told them."""


@dataclass(frozen=True)
class Layout:
    """One stack: the checkout it runs from, its own state directory, its own ports."""

    checkout: Path
    state: Path
    ports: Mapping[str, int]
    brokers: tuple[str, ...] = BROKERS[:1]
    """Which of BROKERS it has: one, or three that replicate to each other."""
    hosts: Mapping[str, str] = field(default_factory=dict)
    """Where each part is, by the name of its port; what is not named is on this machine's loopback."""
    networked: bool = False
    """Whether there is a network between the parts: then they listen on every address, and speak TLS."""
    pkcs11_module: Path | None = None
    """None: where this machine has SoftHSM."""

    def host(self, part: str) -> str:
        """Host name or address of a part."""
        return self.hosts.get(part, ports.HOST)

    @property
    def listen(self) -> str:
        """The address on which every part listens."""
        return "0.0.0.0" if self.networked else ports.HOST  # noqa: S104 (of a container, whose network is its own)

    @property
    def tls_root(self) -> Path:
        """PEM of the stack's authority of TLS certificates: of the gateway, and across a network of all others."""
        return self.pki / "transport_root.pem"

    @property
    def transport_root(self) -> Path | None:
        """The same, where Kafka, PostgreSQL and the SMTP sink speak TLS."""
        return self.tls_root if self.networked else None

    def tls(self, server: str) -> Path:
        """PEM (0600) of a server's private key and TLS certificate; the gateway's is a field of its settings."""
        return self.secrets(server) / ("gateway_tls" if server == "gateway" else "tls.pem")

    @property
    def bootstrap(self) -> str:
        """Kafka's address: host:port of every broker, comma-separated."""
        return ",".join(f"{self.host(name)}:{self.ports[name]}" for name in self.brokers)

    @property
    def lock(self) -> Path:
        """Held while the stack changes state, so that two `up` cannot meet."""
        return self.state / "lock"

    @property
    def config(self) -> Path:
        """Generated configuration; rewritten at every start, never edited by hand."""
        return self.state / "conf"

    @property
    def postgres_data(self) -> Path:
        """PostgreSQL's data directory, owned by the account it runs as."""
        return self.state / "postgres"

    def broker_data(self, broker: str) -> Path:
        """The log directory of one broker (records and KRaft metadata)."""
        return self.state / broker

    @property
    def mail(self) -> Path:
        """One .eml file per message that the SMTP sink took."""
        return self.state / "mail"

    @property
    def daily_files(self) -> Path:
        """Where monitor leaves a file for each day."""
        return self.state / "daily-files"

    @property
    def mail_rules(self) -> Path:
        """JSON file by which a test makes the SMTP sink slow or unwilling."""
        return self.state / "mail-rules.json"

    @property
    def control_socket(self) -> Path:
        """The supervisor's control socket, only for the owner."""
        return self.state / "supervisor.sock"

    def log(self, part: str) -> Path:
        """The log of one part."""
        return self.state / "log" / f"{part}.log"

    def secrets(self, owner: str) -> Path:
        """Secrets directory (0700) of one service, or of `operator`; one file (0600) per secret."""
        return self.state / "secrets" / owner

    @property
    def pki(self) -> Path:
        """Public certificates and the requests for them; no secrets."""
        return self.state / "pki"

    def hsm(self, token: str) -> Path:
        """Directory (0700) of one SoftHSM token: its softhsm2.conf and its objects."""
        return self.state / "hsm" / token


def open_layout(state: Path | None = None, *, brokers: tuple[str, ...] = BROKERS[:1]) -> Layout:
    """Return the stack of this checkout, or of `state`; reserves its ports the first time.

    `GPKI_STACK_DIR` names the state directory, default `var/stack`. Raises StackError when no free ports are left.
    """
    chosen = state or Path(os.environ.get("GPKI_STACK_DIR", CHECKOUT / "var" / "stack"))
    chosen = (chosen if chosen.is_absolute() else CHECKOUT / chosen).resolve()
    return Layout(checkout=CHECKOUT, state=chosen, ports=ports.reserve(chosen, PORT_NAMES), brokers=brokers)
