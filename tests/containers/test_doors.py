"""What of the stack can be reached from outside, and with what rights its processes run."""

from typing import Any

import pytest

from tests.support.containers import InContainers, service_of

pytestmark = pytest.mark.containers

DOORS = {"kafka": {"9094/tcp"}, "gateway": {"8080/tcp"}, "certificate_authority": {"8081/tcp"}}
"""Ports that are published, by service."""


@pytest.fixture(scope="module")
def inspected(full_stack: InContainers) -> dict[str, dict[str, Any]]:
    """What the engine knows of each container, by service."""
    return {service_of(one): one.attrs for one in full_stack.every()}


def test_only_ports_of_the_loopback_are_published(inspected: dict[str, dict[str, Any]]) -> None:
    """I-58."""
    found: dict[str, set[str]] = {}
    for name, container in inspected.items():
        for port, bindings in (container["HostConfig"]["PortBindings"] or {}).items():
            assert {binding["HostIp"] for binding in bindings} == {"127.0.0.1"}, (name, port)
            found.setdefault(name, set()).add("9094/tcp" if name == "kafka" else port)
    assert found == DOORS


def test_no_process_is_root_or_may_become_it(inspected: dict[str, dict[str, Any]]) -> None:
    assert len(inspected) > 12
    for name, container in inspected.items():
        host = container["HostConfig"]
        assert container["Config"]["User"] == "gpki", name
        assert host["ReadonlyRootfs"], name
        assert host["CapDrop"] == ["ALL"], name
        assert not host["CapAdd"], name
        assert not host["Privileged"], name
        assert host["SecurityOpt"] == ["no-new-privileges:true"], name
        assert host["Memory"] > 0, name
        assert host["PidsLimit"] > 0, name


def test_a_process_inside_has_no_capability_and_can_write_nothing_but_its_own(full_stack: InContainers) -> None:
    assert full_stack.inside("gateway", "grep", "CapEff", "/proc/1/status") == (0, f"CapEff:\t{0:016}\n")
    for place in ("/app/x", "/usr/local/bin/x", "/state/secrets/gateway/x", "/state/pki/x"):
        assert full_stack.inside("gateway", "touch", place)[0], place
    assert full_stack.inside("gateway", "touch", "/tmp/x")[0] == 0


def test_only_who_has_to_speaks_to_the_outside(inspected: dict[str, dict[str, Any]]) -> None:
    outward = {
        name for name, one in inspected.items() if any("_door" in each for each in one["NetworkSettings"]["Networks"])
    }
    assert outward == {*DOORS, "otp_dispatch"}
