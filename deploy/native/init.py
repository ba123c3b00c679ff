"""The step between infrastructure and services: topics, tokens, certificate authority. Dull and repeatable."""

import asyncio
import sys
from collections.abc import Coroutine, Mapping
from importlib import import_module
from typing import Any

from deploy.native import broker, hsm
from deploy.native.failures import StackError
from deploy.native.layout import SERVICES, Layout, open_layout
from deploy.native.parts import TOKENS, client_environment, inherited, service_environment

STEP_SECONDS = 60

PRODUCERS = {service: service for service in SERVICES if service != "monitor"} | {"operations": "operator"}
"""Who signs events, and whose secrets directory has the key. monitor writes none."""


async def initialise(layout: Layout) -> None:
    """Create what services expect to find; every step may run again on a stack that has it.

    Wants Kafka and PostgreSQL ready, with accounts, roles and schemas made. Raises StackError.
    """
    topics = import_module("libs.bus.topics")  # lazily: the infrastructure alone needs no broker client
    signing = import_module("libs.bus.signing")
    for owner, secrets in PRODUCERS.items():
        signing.make_producer_key(owner, layout.secrets(secrets), layout.pki)
    # Whoever has a key makes it himself and leaves a request; the authority comes last and answers all of them.
    await _together(
        topics.create_topics(broker.access(layout), replication=len(layout.brokers)),
        _run(layout, _once(layout, "otp_dispatch"), "services.otp_dispatch.init"),
        _run(layout, client_environment(layout), "services.igfmas", "init"),
        _run(layout, _once(layout, "monitor"), "services.monitor.init"),
        _with_token(layout, "hsm_signer", "services.hsm_signer.init", so_pin=True),
        _with_token(layout, "posting", "services.posting.init"),
        _with_token(layout, "certificate_authority"),
    )
    await _run(layout, _once(layout, "certificate_authority"), "services.certificate_authority.provisioning")


async def _together(*steps: Coroutine[Any, Any, None]) -> None:
    """Take steps that need nothing of each other; the first that fails ends the others."""
    try:
        async with asyncio.TaskGroup() as group:
            for step in steps:
                group.create_task(step)
    except BaseExceptionGroup as failed:
        raise failed.exceptions[0] from None


async def _with_token(layout: Layout, service: str, step: str = "", *, so_pin: bool = False) -> None:
    environment = _once(layout, service)
    await _run(layout, environment, "deploy.native.hsm", TOKENS[service])
    if so_pin:
        environment["GPKI_HSM_SO_PIN_FILE"] = str(hsm.so_pin_file(layout, TOKENS[service]))
    if step:
        await _run(layout, environment, step)


def _once(layout: Layout, service: str) -> dict[str, str]:
    """Return the settings of a step that may run beside its service, whose health port is taken then."""
    return service_environment(layout, service) | {"GPKI_HEALTH_PORT": "0"}


async def _run(layout: Layout, environment: Mapping[str, str], module: str, *arguments: str) -> None:
    """Run `python -m module` with these settings, and hold its output back unless it fails."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", module, *arguments),
        cwd=layout.checkout,
        env={**inherited(), "GPKI_STACK_DIR": str(layout.state), **environment},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        async with asyncio.timeout(STEP_SECONDS):
            said, _ = await process.communicate()
    finally:
        if process.returncode is None:  # interrupted, or out of time
            process.kill()
            await process.wait()
    if process.returncode:
        text = said.decode("utf-8", "replace").strip()
        raise StackError(f"python -m {module} {' '.join(arguments)} failed\n{text}", "mend that, then start again")


if __name__ == "__main__":
    asyncio.run(initialise(open_layout()))
