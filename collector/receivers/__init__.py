"""OTLP over gRPC and HTTP: bytes in, the outcome of the pipeline out."""
