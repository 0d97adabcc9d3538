"""``/metrics`` for Prometheus and ``/healthz`` for whoever restarts the server. A registry of its own for each application."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

from fastapi import APIRouter, FastAPI, Request
from fastapi.responses import JSONResponse, PlainTextResponse, Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from sqlalchemy.exc import SQLAlchemyError

from groundtune.serving.callers.access import Access
from groundtune.serving.described import gives
from groundtune.serving.shapes.operation import Health
from groundtune.serving.state import server_of
from groundtune.serving.storage.store import Store
from groundtune.serving.tuning.jobs import ENDED, OPEN

router = APIRouter(tags=["operation"])
#: apart from the threads that requests take, which may all wait for the database
_HEALTH = ThreadPoolExecutor(1, "health")
#: different models that are counted by name; what comes after them is counted together
MODELS, OTHER = 100, "(other)"
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)


class _Jobs(Collector):
    """Fine-tuning jobs by status, counted in the database when somebody looks."""

    def __init__(self, store: Store) -> None:
        self.store = store

    def collect(self) -> Iterator[Metric]:
        found = GaugeMetricFamily("groundtune_jobs", "Fine-tuning jobs by status.", labels=["status"])
        for status in (*OPEN, *ENDED):
            found.add_metric([status], self.store.count("job", states=(status,)))
        yield found


class Metrics:
    """What an application counts.

    Attributes:
        waiting: requests that wait for the engine; whoever knows calls ``waiting.set_function``.
        loaded_models: models in memory; likewise.
        first_token: seconds until the first token of an answer.
    """

    def __init__(self, store: Store, access: Access) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "groundtune_requests", "Requests answered.", ["method", "route", "status"], registry=self.registry
        )
        self.seconds = Histogram(
            "groundtune_request_seconds", "Until the last byte.", ["route"], buckets=_SECONDS, registry=self.registry
        )
        self.prompt_tokens = Counter("groundtune_prompt_tokens", "Tokens read.", ["model"], registry=self.registry)
        self.completion_tokens = Counter(
            "groundtune_completion_tokens", "Tokens generated.", ["model"], registry=self.registry
        )
        self.first_token = Histogram(
            "groundtune_first_token_seconds", "Until the first token.", buckets=_SECONDS, registry=self.registry
        )
        self.waiting = Gauge("groundtune_waiting", "Requests that wait for the engine.", registry=self.registry)
        self.loaded_models = Gauge("groundtune_loaded_models", "Models in memory.", registry=self.registry)
        in_flight = Gauge("groundtune_in_flight", "Generating requests, waiting ones too.", registry=self.registry)
        in_flight.set_function(lambda: access.in_flight)
        self.registry.register(_Jobs(store))
        self._models: set[str] = set()
        self._lock = threading.Lock()

    def answered(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count a request."""
        self.requests.labels(method if method in _METHODS else OTHER, route, str(status)).inc()
        self.seconds.labels(route).observe(seconds)

    def used(self, model: str, prompt_tokens: int, completion_tokens: int) -> None:
        """Count tokens."""
        with self._lock:
            if model not in self._models and len(self._models) >= MODELS:
                model = OTHER
            self._models.add(model)
        self.prompt_tokens.labels(model).inc(prompt_tokens)
        self.completion_tokens.labels(model).inc(completion_tokens)


def metrics_of(app: FastAPI) -> Metrics:
    """What an application counts."""
    found: Metrics = app.state.metrics
    return found


def observe_first_token(app: FastAPI, seconds: float) -> None:
    """Count how long an answer's first token took."""
    metrics_of(app).first_token.observe(seconds)


@router.get("/metrics", response_class=PlainTextResponse)
def metrics(request: Request) -> Response:
    """All figures, in Prometheus' text format."""
    return Response(generate_latest(metrics_of(request.app).registry), media_type=CONTENT_TYPE_LATEST)


@router.get("/healthz", **gives(Health, also=503))
async def healthz(request: Request) -> JSONResponse:
    """200 while the database answers, else 503; nothing about what is served, since it needs no key."""
    try:
        await asyncio.get_running_loop().run_in_executor(_HEALTH, server_of(request.app).store.count, "file")
    except SQLAlchemyError:
        return JSONResponse({"status": "database unavailable"}, 503)
    return JSONResponse({"status": "ok"})
