"""Numbers for Prometheus, under the names that rest-server gives them (``--prometheus``)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from restic_format.errors import UsageError

if TYPE_CHECKING:
    from prometheus_client import Counter

_LABELS = ("user", "repo", "type")
_MOST_LABELS = 10_000
"""Combinations of labels that are told apart; what comes after them is counted without its user and repository."""


class Metrics(Protocol):
    """Is told what was done with files."""

    def count(self, operation: str, user: str, repository: str, kind: str, size: int) -> None:
        """Count a file of *size* bytes; *operation* is ``read``, ``write`` or ``delete``."""

    def page(self) -> tuple[bytes, str]:
        """All numbers as Prometheus reads them, and the type of the text."""


class PrometheusMetrics:
    """Counters in a registry of their own, beside those of the process."""

    def __init__(self) -> None:
        try:
            from prometheus_client import CollectorRegistry, Counter, GCCollector, PlatformCollector, ProcessCollector
        except ImportError:
            raise UsageError("--prometheus needs prometheus-client: pip install 'restic-format[serve]'") from None
        self._registry = CollectorRegistry()
        for collector in (ProcessCollector, PlatformCollector, GCCollector):
            collector(registry=self._registry)
        self._seen: set[tuple[str, str, str]] = set()
        self._counters: dict[str, tuple[Counter, Counter]] = {}
        for operation, done, of in (("write", "written", "to"), ("read", "read", "from"), ("delete", "deleted", "of")):
            files = f"rest_server_blob_{operation}", f"Total number of blobs {done}"
            size = f"rest_server_blob_{operation}_bytes", f"Total number of bytes {done} {of} blobs"
            self._counters[operation] = (
                Counter(*files, _LABELS, registry=self._registry),
                Counter(*size, _LABELS, registry=self._registry),
            )

    def count(self, operation: str, user: str, repository: str, kind: str, size: int) -> None:
        """See `Metrics`."""
        labels = user, repository, kind
        if labels not in self._seen:
            if len(self._seen) >= _MOST_LABELS:
                labels = "", "", kind
            self._seen.add(labels)
        files, total = self._counters[operation]
        files.labels(*labels).inc()
        total.labels(*labels).inc(size)

    def page(self) -> tuple[bytes, str]:
        """See `Metrics`."""
        from prometheus_client import generate_latest
        from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

        return generate_latest(self._registry), CONTENT_TYPE_PLAIN_0_0_4
