"""The one loop of delivery, on FastStream (design section 3)."""

from libs.runtime.imports import hollow, without

# To serve FastStream's own applications, to trace its messages, to test them; ours are none. 4 MB with what they bring.
with (
    without("uvicorn"),
    without("opentelemetry"),
    hollow("http.server", "BaseHTTPRequestHandler"),
    hollow("unittest", "mock"),
    hollow("unittest.mock", "AsyncMock", "MagicMock"),
):
    import faststream.kafka  # noqa: F401
