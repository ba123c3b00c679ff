"""The stack's TLS: who has its authority believes its servers, by their names, and nobody else."""

import ssl
import stat
from pathlib import Path

import pytest
from pydantic import SecretStr

from deploy.containers.layout import HOSTS, PORTS, ContainerLayout
from deploy.native import transport
from deploy.native.layout import ADMINISTRATOR, Layout
from libs.runtime.kafka_access import KafkaAccess
from libs.runtime.transport import client_context


def certified(state: Path) -> Layout:
    """A stack's authority and servers; the folders are mount points in containers, and there before."""
    made = ContainerLayout(checkout=state, state=state, ports=PORTS, hosts=HOSTS, networked=True)
    for owner in ("kafka", "postgres", "smtp", "gateway"):
        made.secrets(owner).mkdir(parents=True)
    transport.certify(made)
    return made


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return certified(tmp_path)


def shake_hands(keys: Path, root: Path | None, host: str) -> str | None:
    """Client and server in one process; returns the version that they speak. Raises ssl.SSLError."""
    accepting = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    accepting.load_cert_chain(keys)
    context = client_context(root)
    assert context is not None
    to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = context.wrap_bio(to_client, to_server, server_hostname=host)
    server = accepting.wrap_bio(to_server, to_client, server_side=True)
    for _ in range(4):
        for side in (client, server):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
    return client.version()


@pytest.mark.parametrize(
    ("owner", "host"),
    [
        ("gateway", "gateway"),
        ("gateway", "127.0.0.1"),
        ("kafka", "kafka"),
        ("kafka", "kafka-3"),
        ("kafka", "127.0.0.1"),
        ("postgres", "postgres"),
        ("smtp", "smtp"),
    ],
)
def test_a_server_is_believed_by_its_names(layout: Layout, owner: str, host: str) -> None:
    assert shake_hands(layout.tls(owner), layout.tls_root, host) == "TLSv1.3"


@pytest.mark.parametrize(("owner", "host"), [("kafka", "postgres"), ("smtp", "kafka"), ("postgres", "10.0.0.1")])
def test_and_not_by_another_s(layout: Layout, owner: str, host: str) -> None:
    with pytest.raises(ssl.SSLCertVerificationError, match="mismatch"):
        shake_hands(layout.tls(owner), layout.tls_root, host)


def test_on_one_machine_the_gateway_alone_has_a_certificate_and_names_of_its_own_where_they_are_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(transport.GATEWAY_NAMES, "1gpki.example.gov.my,10.1.2.3")
    made = Layout(checkout=tmp_path, state=tmp_path, ports={})
    transport.certify(made)
    assert [file.parent.name for file in tmp_path.rglob("*tls*") if file.is_file()] == ["gateway"]
    for host in ("127.0.0.1", "1gpki.example.gov.my", "10.1.2.3"):
        assert shake_hands(made.tls("gateway"), made.tls_root, host) == "TLSv1.3"


def test_a_server_of_another_authority_is_not_believed(layout: Layout, tmp_path: Path) -> None:
    other = certified(tmp_path / "other")
    with pytest.raises(ssl.SSLCertVerificationError):
        shake_hands(other.tls("kafka"), layout.transport_root, "kafka")


def test_a_second_start_keeps_the_authority_and_makes_new_certificates(layout: Layout) -> None:
    assert layout.transport_root is not None
    root, keys = layout.transport_root.read_bytes(), layout.tls("kafka").read_bytes()
    transport.certify(layout)
    assert layout.transport_root.read_bytes() == root
    assert layout.tls("kafka").read_bytes() != keys
    assert shake_hands(layout.tls("kafka"), layout.transport_root, "kafka")


def test_every_key_is_its_owner_s_alone(layout: Layout) -> None:
    found = [file for file in layout.secrets(ADMINISTRATOR).parent.rglob("*") if file.is_file()]
    assert len(found) == 5
    assert {stat.S_IMODE(file.stat().st_mode) for file in found} == {0o600}


def test_with_an_authority_nothing_is_said_to_a_broker_without_tls(layout: Layout) -> None:
    known = [KafkaAccess("kafka:9092", "somebody", SecretStr("x"), root) for root in (None, layout.transport_root)]
    told = [access.options() for access in known]
    assert [one["security_protocol"] for one in told] == ["SASL_PLAINTEXT", "SASL_SSL"]
    assert [one["ssl_context"] is None for one in told] == [True, False]
