"""What the server counts, for Prometheus."""

from collections.abc import Iterable
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from midifactory.serve.shelf import Shelf

CONTENT_TYPE = CONTENT_TYPE_LATEST
_SECONDS = (0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100)


class Metrics:
    """Counters of one server, in a registry of its own."""

    def __init__(self, shelf: Shelf):
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "midifactory_requests", "Answered requests", ("method", "path", "status"), registry=self.registry
        )
        self.seconds = Histogram(
            "midifactory_request_seconds",
            "From a request's first byte to the answer's last",
            ("path",),
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.first_note = Histogram(
            "midifactory_first_note_seconds",
            "From a stream's request to its first note",
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.pieces = Counter("midifactory_pieces", "Finished pieces", ("model",), registry=self.registry)
        self.gone = Counter(
            "midifactory_disconnects", "Requests whose client left before the answer", registry=self.registry
        )
        self.registry.register(_OfModels(shelf))

    def text(self) -> bytes:
        """All of it, as Prometheus reads it."""
        return generate_latest(self.registry)


class _OfModels:
    """What the decoders know of themselves."""

    def __init__(self, shelf: Shelf):
        self._shelf = shelf

    def collect(self) -> Iterable[Any]:
        """The metrics, looked up when they are asked for."""
        running = GaugeMetricFamily("midifactory_rows_running", "Rows that are decoded now", labels=["model"])
        waiting = GaugeMetricFamily("midifactory_rows_waiting", "Rows that wait for a place", labels=["model"])
        tokens = CounterMetricFamily(
            "midifactory_tokens", "Tokens decoded since the model was loaded", labels=["model"]
        )
        for name, served in self._shelf.models.items():
            if (decoder := served.running) is not None:
                running.add_metric([name], decoder.running)
                waiting.add_metric([name], decoder.waiting)
                tokens.add_metric([name], decoder.tokens)
        return running, waiting, tokens
