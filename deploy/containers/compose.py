"""Writes docker-compose.yml: `python -m deploy.containers.compose`. What each service is told is said in deploy/native.

No anchors and no extensions: what one reads is what docker-compose 1.29 and Compose v2 both take.
"""

import sys
from collections.abc import Mapping, Sequence
from typing import Any, Final

import yaml  # type: ignore[import-untyped]  # its stubs are another package

from deploy.containers.layout import HOSTS, PORTS, PUBLISHED, STATE, ContainerLayout, inside, variable
from deploy.native.broker import BROKERS as KAFKA
from deploy.native.layout import ADMINISTRATOR, BROKERS, CHECKOUT, SERVICES
from deploy.native.parts import FROM_THE_CALLER, TOKENS, operator_environment, service_settings
from deploy.native.principals import AUDITOR, CALLER, OBSERVER, OPERATOR, SYSTEMS
from deploy.native.transport import GATEWAY_NAMES
from libs.runtime.generated_file import write_or_check

FILE: Final = CHECKOUT / "docker-compose.yml"
HEADER: Final = """\
# The platform in containers. Written by `python -m deploy.containers.compose`: change that, not this.
# README.md says how to build the images and how to start; docs/architecture.md, "Containers", why it is so.
"""

Definition = dict[str, Any]

MEMORY: Final = {"hsm_signer": "384m"}
"""Of a container at most. A service needs 90 MB, and 150 with requests of 10,000 documents; PINs 7 MiB each."""
SERVICE_MEMORY: Final = "256m"

BOOTSTRAP: Final = {"GPKI_KAFKA_BOOTSTRAP": f"${{GPKI_KAFKA_BOOTSTRAP:-{HOSTS[KAFKA]}:{PORTS[KAFKA]}}}"}
"""Of one broker; of three, who starts them says so."""

GRACE: Final = "70s"
"""From SIGTERM to SIGKILL: above the 60 s that a handler works at most (libs/bus)."""

STARTING: Final = "180s"
"""For which a health check that fails does not count: a busy disk may take so long over a start."""

OWNERS: Final = (*SERVICES, ADMINISTRATOR, OPERATOR, AUDITOR, CALLER, OBSERVER, KAFKA, "postgres", "smtp")
"""Who has secrets, each in a volume of its own."""

DOORS: Final = {"gateway": "gateway", "certificate_authority": "crl"}
"""Services that are reached from the host, and by which port."""

OUTWARD: Final = ("otp_dispatch",)
"""Who has to reach something outside: the mail relay."""

PUBLIC: Final = {"pki": "pki", "conf": "conf"}
SINK: Final = "smtp"


def compose() -> Definition:
    """The whole file."""
    layout = inside()
    return {
        "services": {
            "prepare": _job(layout, "deploy.containers.prepare", data=True, after={}),
            "postgres": _postgres(layout),
            **{name: _kafka(layout, name) for name in BROKERS},
            "init": _job(
                *(layout, "deploy.containers.init"),
                data=False,
                after={"postgres": "service_healthy", BROKERS[0]: "service_healthy"},
            ),
            **{name: _service(layout, name) for name in SERVICES},
            SINK: _sink(layout),
            "operator": _operator(layout),
        },
        "networks": {"inside": {"internal": True}, "door": {}},
        "volumes": dict.fromkeys(_volumes(), None),
    }


def _volumes() -> list[str]:
    folders = [*PUBLIC, "daily-files", "postgres", *BROKERS, *(f"hsm-{token}" for token in TOKENS.values())]
    return [*folders, *(_secrets_volume(owner) for owner in OWNERS)]


def _secrets_volume(owner: str) -> str:
    return f"secrets-{owner}"


def _container(image: str, target: str, **more: Any) -> Definition:
    arguments = {"BASE_IMAGE": "${BASE_IMAGE:-debian:bookworm-slim}", **more.pop("arguments", {})}
    return {
        "image": f"gpki/{image}:${{GPKI_TAG:-latest}}",
        "build": {
            "context": ".",
            "dockerfile": "deploy/containers/Dockerfile",
            "target": target,
            "args": arguments,
        },
        "read_only": True,
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges:true"],
        "pids_limit": 256,
        "tmpfs": ["/tmp"],  # noqa: S108 (of the container alone)
        **({} if "network_mode" in more else {"networks": {"inside": {}}}),
        **more,
    }


def _service(layout: ContainerLayout, name: str) -> Definition:
    hsm = name in TOKENS
    arguments = {"SERVICE": name} | ({"CODE": "code-hsm"} if hsm else {})
    # None: as it is in the environment of who starts the stack, and not there otherwise
    settings = {**service_settings(layout, name), **dict.fromkeys(FROM_THE_CALLER.get(name, ()))}
    # of a real relay: its host and port, and its authority in the system's store instead of our own
    if name == "otp_dispatch":
        settings |= {
            "GPKI_SMTP_HOST": f"${{GPKI_SMTP_HOST:-{layout.host(SINK)}}}",
            "GPKI_SMTP_PORT": f"${{GPKI_SMTP_PORT:-{layout.ports[SINK]}}}",
            "GPKI_SMTP_TLS": "required",
            "SSL_CERT_FILE": f"${{GPKI_SMTP_ROOT:-{layout.transport_root}}}",
        }
    volumes = [_secrets(name), "pki:/state/pki:ro"]
    volumes += [f"hsm-{TOKENS[name]}:/state/hsm/{TOKENS[name]}"] if hsm else []
    volumes += ["daily-files:/state/daily-files"] if name == "monitor" else []
    container = _container(
        name.replace("_", "-"),
        "service",
        arguments=arguments,
        environment=settings | BOOTSTRAP,
        volumes=volumes,
        mem_limit=MEMORY.get(name, SERVICE_MEMORY),
        depends_on={"init": {"condition": "service_completed_successfully"}},
        restart="unless-stopped",
        stop_grace_period=GRACE,
        healthcheck=_healthy("ready.sh", start=STARTING),
    )
    if name in DOORS:
        container["networks"] = {"inside": {"aliases": [HOSTS[DOORS[name]]]}, "door": {}}
        container["ports"] = [_port(DOORS[name], layout.ports[DOORS[name]])]
    if name in OUTWARD:
        container["networks"] = {"inside": {}, "door": {}}
    return container


def _kafka(layout: ContainerLayout, name: str) -> Definition:
    outer = PUBLISHED[f"{name}_host"]
    port = f"${{{variable(f'{name}_host')}:-{outer}}}"  # a broker says it to clients: the same on both sides
    return _container(
        "kafka",
        "kafka",
        command=["java", f"@/state/conf/{name}.args"],
        volumes=["conf:/state/conf:ro", "pki:/state/pki:ro", _secrets(KAFKA), f"{name}:/state/{name}"],
        mem_limit="1g",
        tmpfs=["/tmp:exec"],  # noqa: S108 (the container's own): the libraries of its codecs are unpacked there
        networks={"inside": {"aliases": [HOSTS[name]]}, "door": {}},
        ports=[f"127.0.0.1:{port}:{port}"],
        depends_on={"prepare": {"condition": "service_completed_successfully"}},
        restart="unless-stopped",
        stop_grace_period="60s",
        healthcheck=_healthy(f"bash -c ':<>/dev/tcp/127.0.0.1/{layout.ports[name]}'", start=STARTING),
        **({"profiles": ["ha"]} if name != BROKERS[0] else {}),
    )


def _postgres(layout: ContainerLayout) -> Definition:
    return _container(
        "postgres",
        "postgres",
        command=["postgres", "-D", str(layout.postgres_data), f"--config-file={layout.config}/postgres.conf"],
        volumes=["conf:/state/conf:ro", "pki:/state/pki:ro", _secrets("postgres"), "postgres:/state/postgres"],
        mem_limit="1g",
        shm_size="128m",
        depends_on={"prepare": {"condition": "service_completed_successfully"}},
        restart="unless-stopped",
        stop_signal="SIGINT",  # ends sessions, writes a checkpoint
        stop_grace_period="60s",
        healthcheck=_healthy(f"pg_isready --quiet --host=127.0.0.1 --port={layout.ports['postgres']}", start=STARTING),
    )


def _sink(layout: ContainerLayout) -> Definition:
    port = str(layout.ports[SINK])
    return _container(
        *("tools", "tools"),
        command=[
            *("python3", "-m", "deploy.native.smtp_sink", "--host", layout.listen, "--port", port),
            *("--folder", "/state/mail", "--rules", "/state/mail/rules.json"),
            *("--tls", str(layout.tls(SINK))),
        ],
        volumes=[_secrets(SINK), "${GPKI_MAIL_DIR:-./var/containers/stack/mail}:/state/mail"],
        mem_limit="128m",
        depends_on={"prepare": {"condition": "service_completed_successfully"}},
        restart="unless-stopped",
        healthcheck=_healthy(f"bash -c ':<>/dev/tcp/127.0.0.1/{port}'", start=STARTING),
        profiles=["demo"],
    )


def _job(layout: ContainerLayout, module: str, *, data: bool, after: Mapping[str, str]) -> Definition:
    folders = [*PUBLIC, *(["postgres", *BROKERS] if data else [])]
    volumes = [f"{name}:{layout.state / name}" for name in folders]
    volumes += [f"hsm-{token}:{layout.hsm(token)}" for token in TOKENS.values()]
    volumes += [_secrets(owner, "rw") for owner in OWNERS]
    from_the_caller = dict.fromkeys(
        [SYSTEMS, GATEWAY_NAMES, *(each for names in FROM_THE_CALLER.values() for each in names)]
    )
    moved = {
        variable(f"{name}_host"): f"${{{variable(f'{name}_host')}:-{PUBLISHED[f'{name}_host']}}}" for name in BROKERS
    }
    return _container(
        *("tools", "tools"),
        command=["python3", "-m", module],
        environment={"GPKI_BROKERS": "${GPKI_BROKERS:-1}", **from_the_caller, **moved},
        volumes=volumes,
        mem_limit="1g",
        # before there is anybody: a name that nobody has yet would be asked for until a time-out, for each broker
        **({} if after else {"network_mode": "none"}),
        depends_on={name: {"condition": condition} for name, condition in after.items()},
        restart="no",
    )


def _operator(layout: ContainerLayout) -> Definition:
    """`docker compose run --rm operator <command>`: the operator's command line."""
    return _container(
        *("tools", "tools"),
        entrypoint=["python3", "-m", "services.operations"],
        environment=operator_environment(layout, OPERATOR) | BOOTSTRAP,
        volumes=[_secrets(OPERATOR), "pki:/state/pki:ro"],
        mem_limit="512m",
        profiles=["tools"],
    )


def _secrets(owner: str, mode: str = "ro") -> str:
    return f"{_secrets_volume(owner)}:{STATE}/secrets/{owner}:{mode}"


def _port(name: str, inner: int) -> str:
    return f"127.0.0.1:${{{variable(name)}:-{PUBLISHED[name]}}}:{inner}"


def _healthy(command: str, *, start: str) -> Definition:
    return {"test": ["CMD-SHELL", command], "interval": "5s", "timeout": "5s", "retries": 6, "start_period": start}


def text() -> str:
    """What the file holds."""
    dumped: str = yaml.dump(compose(), sort_keys=False, width=120, default_flow_style=False, Dumper=_NoAliases)
    return HEADER + dumped


class _NoAliases(yaml.SafeDumper):  # type: ignore[misc]  # as above
    def ignore_aliases(self, _data: Any) -> bool:
        return True


def main(arguments: Sequence[str]) -> int:
    """Write docker-compose.yml, or with --check say whether it is current; the exit status."""
    return write_or_check(FILE, text(), arguments, module="deploy.containers.compose")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
