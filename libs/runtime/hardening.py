"""Keep the memory of a process that holds secrets out of core files and out of reach of its own user's debuggers."""

import ctypes
import os
import resource
from typing import Final

_PR_SET_DUMPABLE: Final = 4  # linux/prctl.h


def harden_process() -> None:
    """No core dumps, no ptrace and no /proc/<pid>/mem for other processes of the same user (prctl(2)).

    Inherited by nothing that is exec'ed: each process calls it. Raises OSError when the kernel refuses.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0) != 0:
        error = ctypes.get_errno()
        raise OSError(error, f"prctl(PR_SET_DUMPABLE): {os.strerror(error)}")
