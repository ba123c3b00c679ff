"""What every process needs before its first line of business: settings, logs, metrics, health, signals, time."""

import sys

if "structlog" not in sys.modules and "rich" not in sys.modules:
    # structlog imports rich, to colour tracebacks, wherever it is installed: 4 MB in each process, and ours log JSON.
    sys.modules["rich"] = None  # type: ignore[assignment]
    import structlog  # noqa: F401

    del sys.modules["rich"]
