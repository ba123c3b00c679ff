"""docker-compose.yml: written from what the embedded stack declares, closed wherever nothing has to be open."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]

from deploy.containers import compose
from deploy.containers.layout import STATE
from deploy.native.layout import BROKERS, CHECKOUT, SERVICES
from deploy.native.parts import TOKENS
from libs.bus.consumption import HANDLER_BOUND

JOBS = {"prepare", "init"}


@pytest.fixture(scope="module")
def services() -> dict[str, dict[str, Any]]:
    loaded = yaml.safe_load(compose.FILE.read_text(encoding="utf-8"))
    found: dict[str, dict[str, Any]] = loaded["services"]
    return found


def test_the_committed_file_is_current() -> None:
    assert compose.main(["--check"]) == 0


def test_every_service_and_part_is_there(services: dict[str, dict[str, Any]]) -> None:
    assert set(services) == {*SERVICES, *BROKERS, *JOBS, "postgres", "smtp", "operator"}


def test_every_container_is_closed(services: dict[str, dict[str, Any]]) -> None:
    for name, service in services.items():
        assert service["read_only"], name
        assert service["cap_drop"] == ["ALL"], name
        assert "cap_add" not in service, name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert re.fullmatch(r"\d+[mg]", service["mem_limit"]), name
        assert service["pids_limit"] > 0, name


def test_nothing_is_published_but_on_the_loopback(services: dict[str, dict[str, Any]]) -> None:
    ports = [port for service in services.values() for port in service.get("ports", [])]
    assert len(ports) == 2 + len(BROKERS)
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_a_secret_s_volume_is_in_its_owner_s_container_and_those_of_the_jobs(
    services: dict[str, dict[str, Any]],
) -> None:
    for name, service in services.items():
        mounted = {volume.split(":")[0] for volume in service["volumes"] if volume.startswith("secrets-")}
        owner = "kafka" if name in BROKERS else name
        assert name in JOBS or mounted == {f"secrets-{owner}"}, name
        assert name in JOBS or all(volume.endswith(":ro") for volume in service["volumes"] if volume[:8] == "secrets-")


def test_a_token_is_in_its_service_s_container_and_those_of_the_jobs(services: dict[str, dict[str, Any]]) -> None:
    for name, service in services.items():
        mounted = {volume.split(":")[0] for volume in service["volumes"] if volume.startswith("hsm-")}
        expected = {f"hsm-{token}" for token in TOKENS.values()} if name in JOBS else set()
        assert mounted == ({f"hsm-{TOKENS[name]}"} if name in TOKENS else expected), name


def test_every_mount_point_is_in_the_images_so_that_a_new_volume_has_its_owner() -> None:
    script = (CHECKOUT / "deploy/containers/state.sh").read_text()
    wanted = set()
    for service in compose.compose()["services"].values():
        for volume in service["volumes"]:
            source, target = volume.rsplit("}", 1)[-1].split(":")[:2]
            if source:  # the sink's folder is the host's
                wanted.add(Path(target).relative_to(STATE))
    assert len(wanted) > 20
    words = set(re.findall(r"[\w./-]+", script))
    missing = [place for place in wanted if not words & {str(place), f"/state/{place}", place.name}]
    assert missing == []


def test_a_service_is_killed_only_after_a_handler_could_have_ended(services: dict[str, dict[str, Any]]) -> None:
    for name in SERVICES:
        assert int(services[name]["stop_grace_period"].removesuffix("s")) > HANDLER_BOUND, name


def test_a_service_waits_for_its_tables_accounts_and_keys(services: dict[str, dict[str, Any]]) -> None:
    for name in SERVICES:
        assert services[name]["depends_on"] == {"init": {"condition": "service_completed_successfully"}}
        assert "ready.sh" in services[name]["healthcheck"]["test"]
    assert {name: one["condition"] for name, one in services["init"]["depends_on"].items()} == {
        "postgres": "service_healthy",
        "kafka": "service_healthy",
    }


def test_no_environment_holds_a_secret(services: dict[str, dict[str, Any]]) -> None:
    for service in services.values():
        for name in service.get("environment", {}):
            assert not re.search(r"PASSWORD|PIN|SECRET(?!S_DIR)|KEY$", name) or name == "GPKI_WRAPPING_KEY", name
