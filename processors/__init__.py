"""Stages of the pipeline: redaction, cost and sampling."""
