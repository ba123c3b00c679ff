"""Every metric of the platform, each with a text that tells the operator what a rise means."""

from typing import Final

import structlog

from libs.runtime.prometheus import Counter, Gauge, Histogram, MetricWrapperBase

LATENCY_BUCKETS: Final = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.4, 1, 2.5, 5, 10, 30, 60, 300)
"""Seconds; dense around the targets of design section 8 (p50 60 ms, p99 400 ms), wide for an outage."""

HANDLED: Final = Counter(
    "gpki_records_handled_total",
    "Records whose outcome was recorded, by outcome (done, rejected, poison, park). "
    "A rise of park is waiting for one mailbox or one CRL; a rise of poison, a producer that sends what nobody reads.",
    ("service", "topic", "outcome"),
)
REJECTED: Final = Counter(
    "gpki_rejected_total",
    "Rejections by reason code. A rise of one reason across many offices means a common cause (crl-stale, "
    "otp-undeliverable, expired); a rise of too-many-wrong-otp or too-many-wrong-pin means guessing.",
    ("service", "reason"),
)
DEAD_LETTERS: Final = Counter(
    "gpki_dead_letters_total",
    "Records put aside on <topic>.dlq. A rise means documents that stay open until an operator replays or discards "
    "them: on our own topics it is a fault of ours, on `requested` it is a foreign producer's.",
    ("service", "topic"),
)
UNAVAILABLE: Final = Counter(
    "gpki_unavailable_total",
    "Batches sought back because a dependency was away, by dependency (broker, database, hsm, relay). "
    "A rise means that the chain stands still at this service and resumes by itself when the dependency is back.",
    ("service", "reason"),
)
HTTP_SECONDS: Final = Histogram(
    "gpki_http_seconds",
    "Seconds that one HTTP call took, by route; of a stream, as long as its client stayed. A rise of one route alone "
    "names what is slow; a rise of all of them at once means CPU, disk or database.",
    ("service", "route"),
    buckets=LATENCY_BUCKETS,
)
LATENCY_SECONDS: Final = Histogram(
    "gpki_record_latency_seconds",
    "Seconds from the broker's append time of a record until its outcome was recorded. "
    "A rise of one topic alone is waiting for that stage: backlog, parking or a paused consumer.",
    ("service", "topic"),
    buckets=LATENCY_BUCKETS,
)
ALARMS: Final = Counter(
    "gpki_alarms_total",
    "Alarms by name (label reason). Any rise wants a person: look for the log line `alarm` with the same name.",
    ("service", "reason"),
)
UNRECONCILED: Final = Gauge(
    "gpki_unreconciled_documents",
    "Documents that do not agree for longer than they may, by kind: signed-not-posted (and not rejected), "
    "token-signed-not-posted (the same, signed by a token), posted-not-signed. A rise of the first two means a stage "
    "that stands still; of the third, a `posted` that no signature of ours stands behind.",
    ("service", "reason"),
)
OLDEST_SECONDS: Final = Gauge(
    "gpki_oldest_open_seconds",
    "Age of the oldest that is open, by kind: signed-not-posted, token-signed-not-posted, posted-not-signed, "
    "not-in-checkpoint (of the signing log), request-open (since its medium was resolved). A steady rise means that "
    "one is stuck; request-open rises while officers have a request before them.",
    ("service", "reason"),
)
LAG: Final = Gauge(
    "gpki_consumer_lag_records",
    "Records that a consumer group (a service, or a lane of it) has yet to read of a topic, as monitor asked. "
    "A steady rise of one means a stage that stands still; of all, a broker or a database that is slow.",
    ("service", "topic"),
)

DEFINITIONS: Final[tuple[MetricWrapperBase, ...]] = (
    HANDLED,
    REJECTED,
    DEAD_LETTERS,
    UNAVAILABLE,
    HTTP_SECONDS,
    LATENCY_SECONDS,
    ALARMS,
    UNRECONCILED,
    OLDEST_SECONDS,
    LAG,
)
"""The list that dashboards and the test of the labels read."""


def alarm(service: str, name: str, **details: object) -> None:
    """Raise the alarm `name` (kebab-case, one of a few: it is a label): counts it and logs an error with `details`.

    Details go through redaction like every log line. Never raises, never waits.
    """
    ALARMS.labels(service, name).inc()
    structlog.get_logger("alarm").bind(**details).error("alarm", alarm=name)
