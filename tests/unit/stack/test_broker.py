"""One broker stands alone; three replicate to each other, so that one of them may be away."""

from pathlib import Path

import pytest

from deploy.native import broker, parts
from deploy.native.failures import StackError
from deploy.native.layout import BROKERS, PORT_NAMES, Layout

PORTS = {name: 20_000 + number for number, name in enumerate(PORT_NAMES)}


def layout(tmp_path: Path, brokers: tuple[str, ...]) -> Layout:
    return Layout(checkout=tmp_path, state=tmp_path, ports=PORTS, brokers=brokers)


@pytest.mark.parametrize(("count", "in_sync"), [(1, 1), (3, 2)])
def test_what_a_broker_acknowledges_is_on_all_but_one(tmp_path: Path, count: int, in_sync: int) -> None:
    stack = layout(tmp_path, BROKERS[:count])
    for node, name in enumerate(stack.brokers, 1):
        lines = broker._properties(stack, node, name).splitlines()
        assert f"default.replication.factor={count}" in lines
        assert f"offsets.topic.replication.factor={count}" in lines
        assert f"min.insync.replicas={in_sync}" in lines
        assert f"node.id={node}" in lines
        (voters,) = [line for line in lines if line.startswith("controller.quorum.voters=")]
        assert voters.count("@127.0.0.1:") == count
        assert f"{node}@127.0.0.1:{PORTS[f'{name}_controller']}" in voters


def test_services_know_every_broker(tmp_path: Path) -> None:
    known = parts.client_environment(layout(tmp_path, BROKERS))["GPKI_KAFKA_BOOTSTRAP"].split(",")
    assert known == [f"127.0.0.1:{PORTS[name]}" for name in BROKERS]


def test_a_data_directory_of_another_kind_is_named(tmp_path: Path) -> None:
    stack = layout(tmp_path, BROKERS)
    (stack.broker_data("kafka_2")).mkdir()
    (stack.broker_data("kafka_2") / "something").touch()
    with pytest.raises(StackError, match="kafka_2: the data directory"):
        broker._cluster_of(stack, "kafka_2")


def test_storage_that_was_made_before_there_were_accounts_is_said_to_be(tmp_path: Path) -> None:
    """Nobody could log in there: it would look like a broker that never gets ready."""
    stack = layout(tmp_path, BROKERS[:1])
    data = stack.broker_data("kafka")
    data.mkdir()
    (data / "meta.properties").write_text("cluster.id=c1\n")
    (data / "bootstrap.checkpoint").write_bytes(b"\x00metadata.version")
    with pytest.raises(StackError, match="before Kafka had accounts"):
        broker._cluster_of(stack, "kafka")
    (data / "bootstrap.checkpoint").write_bytes(b"\x00administrator")
    assert broker._cluster_of(stack, "kafka") == "c1"


def test_no_password_is_in_a_broker_s_configuration(tmp_path: Path) -> None:
    stack = layout(tmp_path, BROKERS[:1])
    secret = broker.password(stack, broker.BROKERS)
    properties = broker._properties(stack, 1, "kafka")
    assert secret not in properties
    assert f"${{secret:{stack.secrets('kafka')}:kafka_password}}" in properties
