"""The one loop of delivery, on FastStream (design section 3)."""

from libs.runtime.imports import without

# To serve FastStream's own applications and to trace its messages; ours are neither. 3 MB with what they bring.
with without("uvicorn"), without("opentelemetry"):
    import faststream.kafka  # noqa: F401
