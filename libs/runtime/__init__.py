"""What every process needs before its first line of business: settings, logs, metrics, health, signals, time."""

from libs.runtime.imports import without

with without("rich"):  # to colour tracebacks, 4 MB; ours are JSON
    import structlog  # noqa: F401
