"""What the stack declares for the supervisor and the services."""

import base64
import hmac
import shlex
from pathlib import Path
from types import SimpleNamespace

import pytest
from supervisor.options import ServerOptions

from deploy.native import parts
from deploy.native.layout import PORT_NAMES, SERVICES, Layout
from deploy.native.parts import TOKENS, Part, service_environment
from deploy.native.ports import BLOCK
from deploy.native.secret_files import ensure_secret, scram_verifier
from deploy.native.supervisor import MAX_SOCKET_PATH, render, socket_path


async def _never() -> None:
    raise OSError


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    state = tmp_path / "50% of it, and more"  # every character that a naive configuration file breaks on
    (state / "log").mkdir(parents=True)
    return Layout(checkout=tmp_path, state=state, ports={name: 1000 + n for n, name in enumerate(PORT_NAMES)})


def test_the_supervisor_reads_back_what_was_declared(layout: Layout) -> None:
    environment = {"KEY": str(layout.state), "JSON": '{"a": "100 %", "b": ","}'}
    declared = [
        Part("one", ("echo", "a b", '"100%"', str(layout.state)), _never, (), environment),
        Part("two", ("true",), _never, (), group="services", stop_signal="INT", stop_seconds=7, settle_seconds=2),
    ]
    config = layout.state / "supervisord.conf"
    config.write_text(render(layout, layout.state / "s.sock", declared))
    options = ServerOptions()
    options.configfile = str(config)
    options.process_config(do_usage=False)
    groups = {group.name: group for group in options.process_group_configs}
    (one,), (two,) = groups["infrastructure"].process_configs, groups["services"].process_configs
    assert shlex.split(one.command)[-4:] == list(declared[0].command)
    assert shlex.split(one.command)[:3] == ["setpriv", "--pdeathsig", "KILL"]
    assert one.environment == environment
    assert one.stdout_logfile == str(layout.log("one"))
    assert (two.stopwaitsecs, two.startsecs) == (7, 2)
    assert groups["infrastructure"].priority < groups["services"].priority  # stopped in reverse: services first
    assert not one.autostart
    assert one.autorestart


def test_a_change_of_account_comes_before_the_death_signal_that_it_would_clear(layout: Layout) -> None:
    part = Part("one", ("true",), _never, (), run_as=("setpriv", "--reuid=1"))
    assert "command=setpriv --reuid=1 setpriv --pdeathsig KILL true\n" in render(layout, layout.state, [part])


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_is_told_where_its_parts_are_and_no_secret(
    layout: Layout, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parts, "programs", SimpleNamespace(pkcs11_module=lambda: Path("/m.so")))
    monkeypatch.setenv("GPKI_CALLER_SYSTEMS", '{"yours": "YourSystem"}')
    secret = ensure_secret(layout.secrets(name), "postgres_password")
    environment = service_environment(layout, name)
    assert secret not in str(environment)
    assert environment["GPKI_POSTGRES_USER"] == environment["GPKI_KAFKA_USER"] == environment["GPKI_SERVICE"] == name
    assert Path(environment["GPKI_SECRETS_DIR"], "postgres_password").read_text().strip() == secret
    assert ("GPKI_PKCS11_MODULE" in environment) == (name in TOKENS)
    assert ("GPKI_SMTP_HOST" in environment) == (name == "otp_dispatch")
    assert ("GPKI_CALLER_SYSTEMS" in environment) == (name == "certificate_authority")


def test_every_port_fits_in_a_block() -> None:
    assert len(set(PORT_NAMES)) == len(PORT_NAMES) <= BLOCK
    assert {f"health_{name}" for name in SERVICES} <= set(PORT_NAMES)


def test_the_control_socket_has_a_path_that_the_kernel_takes(tmp_path: Path) -> None:
    short = Layout(checkout=tmp_path, state=Path("/srv/x/var/stack"), ports={})
    assert socket_path(short) == short.control_socket
    long = Layout(checkout=tmp_path, state=Path("/srv") / ("x" * 200), ports={})
    other = Layout(checkout=tmp_path, state=Path("/srv") / ("y" * 200), ports={})
    assert len(bytes(socket_path(long))) <= MAX_SOCKET_PATH
    assert socket_path(long) != socket_path(other)


def test_a_secret_is_made_once_and_only_for_its_owner(tmp_path: Path) -> None:
    first = ensure_secret(tmp_path / "posting", "postgres_password")
    assert ensure_secret(tmp_path / "posting", "postgres_password") == first
    assert ensure_secret(tmp_path / "gateway", "postgres_password") != first
    assert len(first) >= 32
    assert (tmp_path / "posting").stat().st_mode & 0o777 == 0o700
    assert [file.stat().st_mode & 0o777 for file in (tmp_path / "posting").iterdir()] == [0o600]


def test_the_verifier_of_a_password_is_the_one_that_the_rfc_computes() -> None:
    """RFC 7677 section 3: password "pencil", 4096 iterations; its ServerSignature proves the server key."""
    salt = base64.b64decode("W22ZaJ0SNY7soEsUEjb6gQ==")
    method, parameters, keys = scram_verifier("pencil", salt).split("$")
    assert (method, parameters) == ("SCRAM-SHA-256", "4096:W22ZaJ0SNY7soEsUEjb6gQ==")
    server_key = base64.b64decode(keys.split(":")[1])
    message = (
        b"n=user,r=rOprNGfwEbeRWgbNEkqO,"
        b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096,"
        b"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
    )
    signature = base64.b64encode(hmac.digest(server_key, message, "sha256")).decode()
    assert signature == "6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="
