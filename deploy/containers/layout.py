"""The same stack in containers, as its own processes see it, and as a client on the host does."""

import os
from dataclasses import dataclass
from pathlib import Path

from deploy.native.layout import BROKERS, CHECKOUT, PORT_NAMES, SERVICES, Layout

STATE = Path("/state")
"""Where every volume is mounted, below folders that the images have (`state.sh`)."""

IMAGE_CHECKOUT = Path("/app")

HOSTS = {
    **{name: name.replace("_", "-") for name in BROKERS},
    **{name: name for name in ("postgres", "smtp", "crl", *SERVICES)},
}
"""Names on the network of the containers; `crl` is another name of certificate_authority, for certificates."""

PUBLISHED = {"kafka_host": 9094, "kafka_2_host": 9095, "kafka_3_host": 9096, "gateway": 8080, "crl": 8081}
"""Ports on the host's loopback, of which each can be moved: `variable`."""

PORTS = {
    **dict.fromkeys((f"health_{name}" for name in SERVICES), 9000),
    **dict.fromkeys(BROKERS, 9092),
    **{f"{name}_controller": 9093 for name in BROKERS},
    "postgres": 5432,
    "smtp": 2525,
    **PUBLISHED,
}
"""Inside; a container has its network to itself, so that the same number is no other's."""


@dataclass(frozen=True)
class ContainerLayout(Layout):
    """What has a volume of its own lies inside of it, since a mount point can be neither made nor renamed."""

    @property
    def postgres_data(self) -> Path:
        return self.state / "postgres" / "data"

    def broker_data(self, broker: str) -> Path:
        return self.state / broker / "data"


def inside() -> ContainerLayout:
    """The stack as its containers see it. `GPKI_BROKERS` says whether there are one or three."""
    moved = {
        name: published(name) for name in PUBLISHED if name.endswith("_host")
    }  # what a broker calls itself outside
    return ContainerLayout(
        checkout=IMAGE_CHECKOUT,
        state=STATE,
        ports=PORTS | moved,
        brokers=BROKERS[: int(os.environ.get("GPKI_BROKERS", "1"))],
        hosts=HOSTS,
        networked=True,
        pkcs11_module=Path("/usr/lib/softhsm/libsofthsm2.so"),
    )


def outside(state: Path | None = None) -> Layout:
    """The stack as a client on the host has it: published ports, copies of its own secrets and of what is public."""
    ports = dict.fromkeys(PORT_NAMES, 0) | {name: published(name) for name in ("gateway", "crl")}
    ports |= {name: published(f"{name}_host") for name in BROKERS}
    count = int(os.environ.get("GPKI_BROKERS", "1"))
    return Layout(
        checkout=CHECKOUT,
        state=state or CHECKOUT / "var" / "containers" / "stack",
        ports=ports,
        brokers=BROKERS[:count],
        networked=True,
    )


def variable(name: str) -> str:
    """The environment variable that moves a published port."""
    return f"GPKI_PORT_{name.upper()}"


def published(name: str) -> int:
    """A port on the host's loopback."""
    return int(os.environ.get(variable(name), PUBLISHED[name]))
