"""Sends spans and metrics of every call by OTLP, as the environment says. They hold nothing that calls carry."""

import os

from connectrpc_otel import OpenTelemetryInterceptor
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

EXPORT_TIMEOUT = 2
"""Seconds to wait for the collector. A service that stops waits for this long."""


def interceptor() -> OpenTelemetryInterceptor:
    """Return the interceptor. Its exporters read OTEL_SERVICE_NAME and the other variables of OpenTelemetry."""
    resource = Resource.create({"service.name": os.environ.get("OTEL_SERVICE_NAME", "gitpod-secrets")})
    traces = TracerProvider(resource=resource)
    traces.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(timeout=EXPORT_TIMEOUT)))
    metrics = MeterProvider(
        [PeriodicExportingMetricReader(OTLPMetricExporter(timeout=EXPORT_TIMEOUT))], resource=resource
    )
    return OpenTelemetryInterceptor(tracer_provider=traces, meter_provider=metrics)
