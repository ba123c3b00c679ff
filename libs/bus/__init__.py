"""The one loop of delivery, on FastStream (design section 3)."""

from libs.runtime.imports import without, without_mocks

# To serve FastStream's own applications, to trace its messages, to test them; ours are none. 4 MB with what they bring.
with without("uvicorn"), without("opentelemetry"), without_mocks():
    import faststream.kafka  # noqa: F401
