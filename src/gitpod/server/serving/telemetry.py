"""Spans and metrics of every call, sent by OTLP to where the environment says; nothing of what calls carry."""

import os

from connectrpc_otel import OpenTelemetryInterceptor
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

PATIENCE = 2
"""Seconds for the collector: a service that stops waits for it."""


def interceptor() -> OpenTelemetryInterceptor:
    """The interceptor, over exporters that end with the process. OTEL_SERVICE_NAME and the like are heeded."""
    resource = Resource.create({"service.name": os.environ.get("OTEL_SERVICE_NAME", "gitpod-secrets")})
    traces = TracerProvider(resource=resource)
    traces.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(timeout=PATIENCE)))
    metrics = MeterProvider([PeriodicExportingMetricReader(OTLPMetricExporter(timeout=PATIENCE))], resource=resource)
    return OpenTelemetryInterceptor(tracer_provider=traces, meter_provider=metrics)
