"""The parts of the stack, declared: what runs, in which order, with which environment, and when it is ready."""

import os
import sys
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import partial

from deploy.native import broker, database, probes, programs
from deploy.native.layout import DATABASE, SERVICES, Layout

TOKENS = {"hsm_signer": "users", "certificate_authority": "ca", "posting": "log"}
"""Which service reaches which HSM token; nobody else is told where a token is."""

PASSED_ON = ("PATH", "HOME", "LANG", "TZ", "JAVA_HOME", "GPKI_KAFKA_SESSION_MS")
"""What a part inherits of the caller's environment; all else it is told explicitly."""

FROM_THE_CALLER = {
    "certificate_authority": ("GPKI_CALLER_SYSTEMS", "GPKI_CALLER_OFFICES", "GPKI_CRL_VALIDITY"),
    "medium_lookup": ("GPKI_MEDIA",),
    "crl_verifier": ("GPKI_CRL_REFRESH",),
    "hsm_signer": ("GPKI_RESERVE_WITHIN", "GPKI_PEPPER", "GPKI_WRAPPING_KEY"),
    "otp_dispatch": (
        *("GPKI_EMAIL_OTP_LIFETIME", "GPKI_EMAIL_OTP_CEILING_MYR", "GPKI_EMAIL_OTP_DAILY_CEILING_MYR"),
        *("GPKI_GPKI_MOBILE_OTP_CEILING_MYR", "GPKI_GPKI_MOBILE_OTP_DAILY_CEILING_MYR"),
    ),
}
"""Settings that a service has of the caller's environment, if they are there: callers, media, ceilings, time, keys."""

MEMORY = {"MALLOC_ARENA_MAX": "1", "MALLOC_MMAP_THRESHOLD_": "1048576", "MALLOC_TRIM_THRESHOLD_": "4194304"}
"""glibc raises its thresholds to the largest block that was ever freed, and then keeps what is smaller; fixed ones do
not rise. They are above a slice's 350 KB: what is given back is asked for again, page by page. One arena, because each
keeps its own."""


@dataclass(frozen=True)
class Part:
    """One supervised process."""

    name: str
    command: tuple[str, ...]
    probe: Callable[[], Awaitable[None]]
    """Returns when the part does its work; raises OSError or the client's error otherwise."""
    listens: tuple[str, ...]
    """Names of the ports that it must find free."""
    environment: Mapping[str, str] = field(default_factory=dict)
    run_as: tuple[str, ...] = ()
    """Command prefix that changes the account."""
    group: str = "infrastructure"
    stop_signal: str = "TERM"
    stop_seconds: int = 15
    """After this long it is killed."""
    settle_seconds: int = 5
    """A process that ends earlier than this counts as a failed start, and the next try waits longer."""
    ready_seconds: int = 30


def infrastructure(layout: Layout) -> tuple[Part, ...]:
    """Return Kafka, PostgreSQL and the SMTP sink, in the order in which they are started."""
    return (
        Part(
            name="postgres",
            command=database.command(layout),
            run_as=database.run_as(layout),
            probe=partial(database.probe, layout),
            listens=("postgres",),
            stop_signal="INT",  # fast shutdown: ends sessions, writes a checkpoint
        ),
        *(
            Part(
                name=name,
                command=broker.command(layout, name),
                probe=partial(_broker_ready, layout, name, brokers=len(layout.brokers)),
                listens=(name, f"{name}_controller"),
                environment={"MALLOC_ARENA_MAX": "2"},
                ready_seconds=60,
            )
            for name in layout.brokers
        ),
        Part(
            name="smtp",
            command=(
                *(sys.executable, "-m", "deploy.native.smtp_sink", "--port", str(layout.ports["smtp"])),
                *("--folder", str(layout.mail), "--rules", str(layout.mail_rules)),
            ),
            probe=partial(probes.smtp, layout.ports["smtp"]),
            listens=("smtp",),
        ),
    )


async def _broker_ready(layout: Layout, name: str, *, brokers: int) -> None:
    await probes.kafka(broker.access(layout), layout.ports[name], brokers=brokers)


def services(layout: Layout) -> tuple[Part, ...]:
    """Return every service; each is ready when its /readyz says so."""
    own_ports = {"gateway": ("gateway",), "certificate_authority": ("crl",)}
    return tuple(
        Part(
            name=name,
            command=(sys.executable, "-m", f"services.{name}"),
            probe=partial(probes.http_ready, layout.ports[f"health_{name}"]),
            listens=(f"health_{name}", *own_ports.get(name, ())),
            environment=service_environment(layout, name),
            group="services",
            stop_seconds=20,
            ready_seconds=60,  # all start at once: on two busy cores half a minute was not enough
        )
        for name in SERVICES
    )


def service_environment(layout: Layout, name: str) -> dict[str, str]:
    """Return the `GPKI_…` settings of one service, with those of the caller's environment that are for it."""
    from_the_caller = {each: os.environ[each] for each in FROM_THE_CALLER.get(name, ()) if each in os.environ}
    return service_settings(layout, name) | from_the_caller


def service_settings(layout: Layout, name: str) -> dict[str, str]:
    """Return the settings that follow from the layout. No secret is among them: those lie in its secrets directory."""
    port = layout.ports
    settings = {
        "GPKI_SERVICE": name,
        "GPKI_SECRETS_DIR": str(layout.secrets(name)),
        "GPKI_HEALTH_PORT": str(port[f"health_{name}"]),
        "GPKI_KAFKA_BOOTSTRAP": layout.bootstrap,
        "GPKI_KAFKA_USER": name,
        **_postgres(layout, name),
        "GPKI_CRL_BASE_URL": _crl_server(layout),
        "GPKI_PKI_DIR": str(layout.pki),
        **_transport(layout),
        **MEMORY,
    }
    if layout.networked:
        settings["GPKI_LISTEN_HOST"] = layout.listen
    if name in TOKENS:
        token = TOKENS[name]
        settings |= {
            "GPKI_PKCS11_MODULE": str(layout.pkcs11_module or programs.pkcs11_module()),
            "GPKI_PKCS11_TOKEN_LABEL": f"gpki-{token}",
            "SOFTHSM2_CONF": str(layout.hsm(token) / "softhsm2.conf"),
        }
    if name == "otp_dispatch":
        settings |= {"GPKI_SMTP_HOST": layout.host("smtp"), "GPKI_SMTP_PORT": str(port["smtp"])}
    if name == "gateway":
        settings["GPKI_GATEWAY_PORT"] = str(port["gateway"])
    if name == "monitor":
        settings["GPKI_DAILY_FILE_DIR"] = str(layout.daily_files)
    if name == "certificate_authority":
        settings["GPKI_CRL_PORT"] = str(port["crl"])
    return settings


def _postgres(layout: Layout, role: str) -> dict[str, str]:
    return {
        "GPKI_POSTGRES_HOST": layout.host("postgres"),
        "GPKI_POSTGRES_PORT": str(layout.ports["postgres"]),
        "GPKI_POSTGRES_DATABASE": DATABASE,
        "GPKI_POSTGRES_USER": role,
    }


def _transport(layout: Layout) -> dict[str, str]:
    return {"GPKI_TRANSPORT_ROOT": str(layout.transport_root)} if layout.networked else {}


def _gateway(layout: Layout) -> dict[str, str]:
    url = f"https://{layout.host('gateway')}:{layout.ports['gateway']}"
    return {"GPKI_GATEWAY_URL": url, "GPKI_GATEWAY_ROOT": str(layout.tls_root)}


def _crl_server(layout: Layout) -> str:
    return f"http://{layout.host('crl')}:{layout.ports['crl']}"


def client_environment(layout: Layout) -> dict[str, str]:
    """Return what the reference client is told; it is no service, and has neither schema nor health port."""
    return {
        "GPKI_SECRETS_DIR": str(layout.secrets("igfmas")),
        "GPKI_OBSERVER_DIR": str(layout.secrets("observer")),
        "GPKI_KAFKA_BOOTSTRAP": layout.bootstrap,
        **_gateway(layout),
        "GPKI_CRL_BASE_URL": _crl_server(layout),
        "GPKI_PKI_DIR": str(layout.pki),
        **_transport(layout),
    }


def operator_environment(layout: Layout, person: str = database.OPERATOR) -> dict[str, str]:
    """Return what the command line is told, for the operator or the auditor: each has accounts of the own name."""
    return {
        "GPKI_SECRETS_DIR": str(layout.secrets(person)),
        "GPKI_KAFKA_BOOTSTRAP": layout.bootstrap,
        "GPKI_KAFKA_USER": person,
        **_postgres(layout, person),
        **_transport(layout),
        "GPKI_SMTP_HOST": layout.host("smtp"),
        "GPKI_SMTP_PORT": str(layout.ports["smtp"]),
        **_gateway(layout),
        "GPKI_CRL_BASE_URL": _crl_server(layout),
        "GPKI_PKI_DIR": str(layout.pki),
        "GPKI_HEALTH_ADDRESSES": ",".join(
            f"{name}={layout.host(name)}:{layout.ports[f'health_{name}']}" for name in SERVICES
        ),
    }


def inherited() -> dict[str, str]:
    """Return what every part gets of the caller's environment."""
    return {name: os.environ[name] for name in PASSED_ON if name in os.environ} | {"PYTHONUNBUFFERED": "1"}
