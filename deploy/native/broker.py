"""Kafka of the embedded stack: one KRaft broker, formatted once, with a bounded heap."""

import secrets
import subprocess
from pathlib import Path
from string import Template

from deploy.native import kafka_jars, programs
from deploy.native.failures import StackError, preparation_failed
from deploy.native.layout import Layout

HERE = Path(__file__).resolve().parent / "kafka"
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


def command(layout: Layout, *flags: str) -> tuple[str, ...]:
    """Return the broker's command line; `flags` instead of the class archive, if any are given."""
    shared = (f"-XX:SharedArchiveFile={archive(layout)}", "-Xlog:cds=off", "-Xlog:cds+dynamic=off")
    return (*_java(layout, *JVM_FLAGS, *(flags or shared)), "kafka.Kafka", str(layout.config / "kafka.properties"))


def prepare(layout: Layout) -> None:
    """Write the broker's configuration and format its storage once.

    Raises StackError when the data directory is broken or cannot be formatted.
    """
    text = Template((HERE / "server.properties").read_text()).substitute(
        port=layout.ports["kafka"], controller_port=layout.ports["kafka_controller"], data=layout.kafka_data
    )
    properties = layout.config / "kafka.properties"
    properties.write_text(text)
    meta = layout.kafka_data / "meta.properties"
    if meta.exists():
        if "cluster.id=" not in meta.read_text():
            raise broken(layout, f"{meta} names no cluster")
        return
    if layout.kafka_data.exists() and any(layout.kafka_data.iterdir()):
        raise broken(layout, f"it holds files but no {meta.name}")
    identifier = "c" + secrets.token_urlsafe(16)[1:]  # 16 bytes; a leading dash would be read as an option
    _storage_tool(layout, "format", "--cluster-id", identifier, "--config", str(properties))


def broken(layout: Layout, why: str) -> StackError:
    """Describe a data directory that this broker must not be started on."""
    return StackError(
        f"kafka: the data directory {layout.kafka_data} is broken: {why}",
        "restore it from a backup, or move it away to begin with an empty broker (its records are lost)",
    )


def _storage_tool(layout: Layout, *arguments: str) -> None:
    done = subprocess.run(
        [*_java(layout, "-Xmx128m", "-XX:TieredStopAtLevel=1"), "kafka.tools.StorageTool", *arguments],
        capture_output=True,
        text=True,
        timeout=FORMAT_SECONDS,
        check=False,
    )
    if done.returncode:
        said = done.stderr or done.stdout
        raise preparation_failed("kafka", "storage could not be formatted", said, layout.kafka_data)


def _java(layout: Layout, *flags: str) -> tuple[str, ...]:
    log4j = f"-Dlog4j2.configurationFile={(HERE / 'log4j2.properties').as_uri()}"
    return (str(programs.java()), *flags, log4j, "-cp", f"{jars(layout)}/*")
