"""What the C library keeps of freed memory."""

import ctypes

_C = ctypes.CDLL(None)


def give_back() -> None:
    """Give it back to the system: a millisecond for a service of ours. Another library than glibc has no such call."""
    if hasattr(_C, "malloc_trim"):
        _C.malloc_trim(0)
