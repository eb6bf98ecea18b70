"""The metrics for Prometheus, read at each scrape. Needs `prometheus_client`, the extra `metrics` of the wheel."""

from collections.abc import Iterator
from datetime import UTC, datetime

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric as Family
from sqlalchemy import func, select
from sqlalchemy.exc import SQLAlchemyError

from .core import metrics
from .core.database.models import Notification
from .core.database.readiness import check_ready
from .core.database.unit_of_work import read_session
from .core.errors import DomainError
from .host import Services


class Collector:
    """A collector for a Prometheus registry, with the metrics of one application and of all its processes."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def describe(self) -> list[Family]:
        """Return no descriptions, so that registering asks nothing of the database."""
        return []

    def collect(self) -> Iterator[Family]:
        """Yield every metric."""
        totals = metrics.totals()
        for metric in metrics.METRICS:
            if metric is not metrics.DURATION:
                yield _family(metric, totals)
        yield _durations(totals)
        yield from self._state()

    def _state(self) -> Iterator[Family]:
        """Yield whether database and keys are usable, and the ages of the signing keys."""
        now = datetime.now(UTC)
        age = GaugeMetricFamily(
            "identity_clients_signing_key_age_seconds", "How long the newest key that signs has signed."
        )
        left = GaugeMetricFamily(
            "identity_clients_signing_key_seconds_left", "Until the newest key that signs stops, where that is set."
        )
        try:
            check_ready(self._services.engine)
            keys = self._services.keys.published(now)
            with read_session(self._services.engine) as session:
                pending = select(func.count(), func.min(Notification.created_at)).where(
                    Notification.next_attempt_at.is_not(None)
                )
                waiting, oldest = session.execute(pending).one()
        except (DomainError, SQLAlchemyError):
            yield GaugeMetricFamily("identity_clients_ready", "Whether database and keys can be used.", 0)
            return
        yield GaugeMetricFamily("identity_clients_ready", "Whether database and keys can be used.", 1)
        yield GaugeMetricFamily("identity_clients_notifications_waiting", "Notifications to be delivered.", waiting)
        yield GaugeMetricFamily(
            "identity_clients_notifications_oldest_seconds",
            "For how long the oldest notification has waited.",
            (now - oldest).total_seconds() if oldest else 0,
        )
        signing = [key for key in keys if key.signs_from <= now and (key.signs_until is None or now < key.signs_until)]
        if signing:
            newest = max(signing, key=lambda key: key.signs_from)
            age.add_metric([], (now - newest.signs_from).total_seconds())
            if newest.signs_until is not None:
                left.add_metric([], (newest.signs_until - now).total_seconds())
        yield age
        yield left


def _family(metric: metrics.Metric, totals: dict[tuple[str, ...], float]) -> Family:
    kind = GaugeMetricFamily if metric.is_gauge else CounterMetricFamily
    family = kind(metric.name, metric.help, labels=list(metric.labels))
    for (name, *values), total in totals.items():
        # Of several hundred combinations few ever occur; those of success are there from the start.
        if name == metric.name and (total or metric is not metrics.REQUESTS or values[-1] == metrics.SUCCESS):
            family.add_metric(values, total)
    return family


def _durations(totals: dict[tuple[str, ...], float]) -> Family:
    metric = metrics.DURATION
    family = HistogramMetricFamily(metric.name, metric.help, labels=["endpoint"])
    for endpoint in metrics.ENDPOINTS:
        buckets, count = [], 0.0
        for bound in (*map(str, metrics.BUCKETS_SECONDS), "+Inf"):
            count += totals[metric.name, endpoint, bound]
            buckets.append((bound, count))
        family.add_metric([endpoint], buckets, totals[metric.name, endpoint, "sum"])
    return family
