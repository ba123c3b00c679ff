"""Metrics have few labels, and tell the operator what a rise means."""

from datetime import timedelta

import pytest
from prometheus_client.metrics import MetricWrapperBase

from libs.runtime import metrics
from libs.runtime.clock import utc_now

LABELS = {"service", "route", "outcome", "reason", "topic"}


@pytest.mark.parametrize("metric", metrics.DEFINITIONS, ids=lambda metric: metric._name)
def test_every_metric_is_ours_bounded_in_labels_and_explained(metric: MetricWrapperBase) -> None:
    assert metric._name.startswith("gpki_")
    assert "service" in metric._labelnames
    assert set(metric._labelnames) <= LABELS
    assert "rise" in metric._documentation


def test_the_list_is_complete() -> None:
    defined = {id(value) for value in vars(metrics).values() if hasattr(value, "_labelnames")}
    assert defined == {id(metric) for metric in metrics.DEFINITIONS}


def test_an_alarm_is_counted_by_name() -> None:
    before = metrics.ALARMS.labels("posting", "test-alarm")._value.get()
    metrics.alarm("posting", "test-alarm", partition=3)
    assert metrics.ALARMS.labels("posting", "test-alarm")._value.get() == before + 1


def test_now_is_aware_and_utc() -> None:
    assert utc_now().utcoffset() == timedelta(0)
