"""`gpki` as a process of its own."""

import asyncio
import os
from collections.abc import Mapping

from deploy.native.parts import operator_environment
from tests.support.stack import Stack


async def gpki(stack: Stack, *arguments: str, more: Mapping[str, str] | None = None) -> tuple[int, str, str]:
    """Exit code, what it printed, what it complained of; `more` is added to what it is told of the stack."""
    process = await asyncio.create_subprocess_exec(
        stack.layout.checkout / "gpki",
        *arguments,
        cwd=stack.layout.state,
        env=os.environ | operator_environment(stack.layout) | dict(more or {}),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    printed, complained = await process.communicate()
    assert process.returncode is not None
    return process.returncode, printed.decode(), complained.decode()
