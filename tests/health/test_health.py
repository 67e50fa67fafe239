"""Probes over a real socket: what Kubernetes sees in each state."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import httpx
import pytest

from collector.health import health_app
from collector.receivers.serving import Listeners
from config.settings import OtlpProtocols
from tests.receivers.fakes import FakeTelemetry

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass
class Process:
    """A process whose state the test sets."""

    address: str = ""
    alive: bool = True
    states: dict[str, bool] = field(default_factory=lambda: {"pipeline": True, "storage": True})

    def probe(self, path: str, method: str = "GET") -> httpx.Response:
        """Ask like a kubelet."""
        return httpx.request(method, f"http://{self.address}{path}", trust_env=False)


@pytest.fixture
def process() -> Iterator[Process]:
    """Serve the health app alone."""
    process = Process()
    app = health_app(is_alive=lambda: process.alive, states=lambda: process.states)
    listeners = Listeners(
        OtlpProtocols(grpc=None, http=None),
        {},
        FakeTelemetry(),
        apps=[("health", "127.0.0.1:0", app)],
    )
    process.address = listeners.start()["health"]
    yield process
    listeners.stop(0)


def test_a_working_process_is_live_and_ready(process: Process) -> None:
    """Scenario: everything works.

    Guarantees: 200 on all three paths, and the states as JSON.
    """
    assert [process.probe(path).status_code for path in ("/", "/live", "/ready")] == [200] * 3
    response = process.probe("/ready")
    assert response.headers["content-type"] == "application/json"
    assert response.json() == {
        "status": "ready",
        "components": {"worker": True, "pipeline": True, "storage": True},
    }


@pytest.mark.parametrize("component", ["pipeline", "storage"])
def test_a_component_that_refuses_makes_it_unready_not_dead(
    process: Process, component: str
) -> None:
    """Scenario: starting, draining, or the disk is full.

    Guarantees: 503 that names the component; still live, so that it is not restarted; 200 again
    when it recovers.
    """
    process.states[component] = False
    for path in ("/", "/ready"):
        response = process.probe(path)
        assert response.status_code == 503
        assert response.json()["components"][component] is False
    assert process.probe("/live").status_code == 200
    process.states[component] = True
    assert process.probe("/ready").status_code == 200


def test_a_stuck_worker_is_neither_live_nor_ready(process: Process) -> None:
    """Scenario: the worker's heartbeat has stopped.

    Guarantees: 503 on all paths, so that the container is restarted.
    """
    process.alive = False
    assert [process.probe(path).status_code for path in ("/", "/live", "/ready")] == [503] * 3


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("HEAD", "/ready", 200),
        ("HEAD", "/live", 200),
        ("POST", "/live", 405),
        ("GET", "/healthz", 404),
    ],
)
def test_other_requests(process: Process, method: str, path: str, status: int) -> None:
    """Scenario: HEAD, another method, another path.

    Guarantees: answered like GET without a body, 405 with Allow, 404.
    """
    response = process.probe(path, method)
    assert response.status_code == status
    assert ("allow" in response.headers) == (status == 405)
