"""Kafka of the embedded stack: KRaft brokers, formatted once, with a bounded heap; one, or three for a test."""

import contextlib
import re
import secrets
import subprocess
from collections.abc import Iterator
from pathlib import Path
from string import Template

from pydantic import SecretStr

from deploy.native import kafka_jars, programs
from deploy.native.failures import StackError, preparation_failed
from deploy.native.layout import ADMINISTRATOR, Layout
from deploy.native.ports import HOST
from deploy.native.secret_files import ensure_secret
from libs.runtime.kafka_access import MECHANISM, KafkaAccess
from libs.runtime.secret_files import write_secret

HERE = Path(__file__).resolve().parent / "kafka"
BROKERS = "kafka"
"""The principal of the brokers among each other; a superuser, and the only one whom the controllers know."""

HEAP = "-Xmx384m"
JVM_FLAGS = (
    "-server",
    "-Xms128m",
    HEAP,
    "-Xss512k",
    "-XX:+UseSerialGC",  # one heap this small on two cores: G1's side structures and threads only cost memory
    "-XX:MaxMetaspaceSize=128m",
    "-XX:ReservedCodeCacheSize=64m",
    "-XX:MaxDirectMemorySize=64m",
    "-XX:+ExitOnOutOfMemoryError",  # the supervisor restarts a dead broker, not a lame one
    "-XX:-UsePerfData",
    "-XX:TieredStopAtLevel=1",
    "-Djava.awt.headless=true",
)
FORMAT_SECONDS = 60


def jars(layout: Layout) -> Path:
    """Return the directory of the pinned jars. Raises StackError when `make setup` has not fetched them."""
    found = kafka_jars.location(layout.checkout)
    if not found.exists():
        raise StackError(f"Kafka's jars are not in {found}", "run `make setup`")
    return found


def archive(layout: Layout) -> Path:
    """Return the JVM's class archive, which `kafka_archive` makes."""
    return jars(layout) / "classes.jsa"


def command(layout: Layout, broker: str, *flags: str) -> tuple[str, ...]:
    """Return a broker's command line; `flags` instead of the class archive, if any are given."""
    shared = (f"-XX:SharedArchiveFile={archive(layout)}", "-Xlog:cds=off", "-Xlog:cds+dynamic=off")
    return (*_java(layout, *JVM_FLAGS, *(flags or shared)), "kafka.Kafka", str(layout.config / f"{broker}.properties"))


def prepare(layout: Layout) -> None:
    """Write each broker's configuration and format its storage once; all are of one cluster.

    Raises StackError when a data directory is broken or cannot be formatted.
    """
    known = [_cluster_of(layout, broker) for broker in layout.brokers]
    fresh = "c" + secrets.token_urlsafe(16)[1:]  # 16 bytes; a leading dash would be read as an option
    cluster = next(filter(None, known), fresh)
    for node, broker in enumerate(layout.brokers, 1):
        properties = layout.config / f"{broker}.properties"
        properties.write_text(_properties(layout, node, broker))
        if not _is_formatted(layout.broker_data(broker)):
            with _accounts(layout, broker) as accounts:
                _storage_tool(
                    *(layout, broker, "format", "--cluster-id", cluster, "--config", str(properties)),
                    f"@{accounts}",  # a file of arguments: a password has no place on a command line
                )


def password(layout: Layout, principal: str) -> str:
    """Of this principal, from its secrets directory; made if there is none."""
    return ensure_secret(layout.secrets(principal), "kafka_password")


def access(layout: Layout, principal: str = ADMINISTRATOR) -> KafkaAccess:
    """The stack's brokers as this principal."""
    return KafkaAccess(layout.bootstrap, principal, SecretStr(password(layout, principal)), layout.transport_root)


@contextlib.contextmanager
def _accounts(layout: Layout, broker: str) -> Iterator[Path]:
    """The superusers, who must be known before anybody can log in; all others they make (`principals`)."""
    file = layout.broker_data(broker).with_suffix(".accounts")
    names = (BROKERS, ADMINISTRATOR)
    lines = [f"--add-scram\n{MECHANISM}=[name={name},password={password(layout, name)}]\n" for name in names]
    write_secret(file, "".join(lines).encode())
    try:
        yield file
    finally:
        file.unlink()


def _properties(layout: Layout, node: int, broker: str) -> str:
    replication = len(layout.brokers)
    voters = (
        f"{n}@{layout.host(name)}:{layout.ports[f'{name}_controller']}" for n, name in enumerate(layout.brokers, 1)
    )
    return Template((HERE / "server.properties").read_text()).substitute(
        node=node,
        **_listeners(layout, broker),
        voters=",".join(voters),
        data=layout.broker_data(broker),
        brokers=BROKERS,
        administrator=ADMINISTRATOR,
        secrets=layout.secrets(BROKERS),
        replication=replication,
        in_sync=(replication + 1) // 2,  # one of three may be away
    )


def _listeners(layout: Layout, broker: str) -> dict[str, str]:
    """Of the template: where this broker listens, what it calls itself, and how it speaks there.

    Across a network with TLS, and on one more listener for clients outside of it, to whom it is on their loopback.
    """
    names = {"BROKER": broker, "CONTROLLER": f"{broker}_controller"}
    if layout.networked:
        names |= {"HOST": f"{broker}_host"}
    protocol = "SASL_SSL" if layout.networked else "SASL_PLAINTEXT"
    reached = {"BROKER": layout.host(broker), "HOST": HOST}
    tls = (HERE / "tls.properties").read_text() if layout.networked else ""
    return {
        "listeners": ",".join(f"{name}://{layout.listen}:{layout.ports[port]}" for name, port in names.items()),
        "advertised": ",".join(
            f"{name}://{host}:{layout.ports[names[name]]}" for name, host in reached.items() if name in names
        ),
        "protocols": ",".join(f"{name}:{protocol}" for name in names),
        "tls": Template(tls).substitute(keys=layout.tls(BROKERS), root=layout.transport_root),
    }


def _is_formatted(data: Path) -> bool:
    return (data / "meta.properties").exists()


def _cluster_of(layout: Layout, broker: str) -> str | None:
    """The cluster that a data directory was formatted for, None if it is new. Raises StackError."""
    data = layout.broker_data(broker)
    if _is_formatted(data):
        found = re.search(r"^cluster\.id=(\S+)$", (data / "meta.properties").read_text(), re.MULTILINE)
        if found is None:
            raise broken(layout, broker, f"{data / 'meta.properties'} names no cluster")
        if ADMINISTRATOR.encode() not in (data / "bootstrap.checkpoint").read_bytes():
            raise StackError(f"{data} was made before Kafka had accounts", "`make clean`: the stack's data is lost")
        return found[1]
    if data.exists() and any(data.iterdir()):
        raise broken(layout, broker, "it holds files but no meta.properties")
    return None


def broken(layout: Layout, broker: str, why: str) -> StackError:
    """Describe a data directory that this broker must not be started on."""
    return StackError(
        f"{broker}: the data directory {layout.broker_data(broker)} is broken: {why}",
        "restore it from a backup, or move it away to begin with an empty broker (its records are lost)",
    )


def _storage_tool(layout: Layout, broker: str, *arguments: str) -> None:
    done = subprocess.run(
        [*_java(layout, "-Xmx128m", "-XX:TieredStopAtLevel=1"), "kafka.tools.StorageTool", *arguments],
        capture_output=True,
        text=True,
        timeout=FORMAT_SECONDS,
        check=False,
    )
    if done.returncode:
        said = done.stderr or done.stdout
        raise preparation_failed(broker, "storage could not be formatted", said, layout.broker_data(broker))


def _java(layout: Layout, *flags: str) -> tuple[str, ...]:
    log4j = f"-Dlog4j2.configurationFile={(HERE / 'log4j2.properties').as_uri()}"
    return (str(programs.java()), *flags, log4j, "-cp", f"{jars(layout)}/*")
