"""OTLP bytes to Arrow and back."""
