"""The sidecar itself: receivers, pipeline, metrics and the process around them."""
