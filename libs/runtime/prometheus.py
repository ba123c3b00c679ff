"""What of prometheus_client counts and writes; what serves and pushes brings 1 MB of the standard library."""

from libs.runtime.imports import hollow

with (
    hollow("http.server", "BaseHTTPRequestHandler"),
    hollow("wsgiref.simple_server", "make_server", "WSGIRequestHandler", "WSGIServer"),
    hollow(
        "urllib.request",
        *("BaseHandler", "build_opener", "HTTPHandler", "HTTPRedirectHandler", "HTTPSHandler", "Request"),
    ),
):
    from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram, generate_latest
    from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
    from prometheus_client.metrics import MetricWrapperBase

__all__ = [
    "CONTENT_TYPE_PLAIN_0_0_4",
    "REGISTRY",
    "CollectorRegistry",
    "Counter",
    "Gauge",
    "Histogram",
    "MetricWrapperBase",
    "generate_latest",
]
