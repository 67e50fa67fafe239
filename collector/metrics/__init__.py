"""What Prometheus sees: golden signals of the spans, clearspan's own telemetry, `/metrics`."""
