"""The stack under the demonstration: started and stopped by it, or used and left running when it runs already."""

import contextlib
from collections.abc import AsyncIterator, Callable, Iterator

from deploy.containers import engine, images
from deploy.containers.stack import ContainerStack
from deploy.native import lifecycle
from deploy.native.layout import Layout
from deploy.native.supervisor import Supervisor

USED = "stack sedang berjalan dan akan dibiarkan berjalan / the stack runs already: it is used, and left running"
_RUNNING = ("RUNNING", "STARTING", "BACKOFF")


@contextlib.asynccontextmanager
async def running_stack(layout: Layout, say: Callable[[str], None]) -> AsyncIterator[None]:
    """The whole stack while entered; afterwards what did not run before does not run any more. Raises StackError.

    Call it in the main thread: what it starts dies with this process, however that ends; but containers, which are the
    engine's.
    """
    if layout.networked:
        with _containers(layout, say):
            yield
        return
    supervisor = Supervisor(layout)
    if supervisor.pid() is None:
        try:
            await lifecycle.start(layout, with_services=True, tied=True, say=say)
            yield
        finally:
            lifecycle.stop(layout, say)
        return
    say(USED)
    before = _running(supervisor)
    try:
        await lifecycle.start(layout, with_services=True, tied=True, say=say)
        yield
    finally:
        for name in sorted(_running(supervisor) - before):
            say(f"hentikan / stop: {name}")
            supervisor.stop(name)


@contextlib.contextmanager
def _containers(layout: Layout, say: Callable[[str], None]) -> Iterator[None]:
    stack = ContainerStack(layout)
    with engine.running(say):
        if stack.runs():
            say(USED)
            stack.attach()
            yield
            return
        images.build(say)
        try:
            stack.up(say)
            yield
        finally:
            stack.down()


def _running(supervisor: Supervisor) -> set[str]:
    return {name for name, info in supervisor.states().items() if info["statename"] in _RUNNING}
