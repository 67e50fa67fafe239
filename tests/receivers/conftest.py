"""Listeners on free ports, with a small limit and short timeouts, shared by a test module."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from collector.receivers.answers import TRACES
from collector.receivers.serving import Listeners
from collector.receivers.timeouts import Timeouts
from config.settings import CorsSettings, GrpcSettings, HttpSettings, OtlpProtocols
from tests.receivers.fakes import WAIT_S, FakeIntake, FakeTelemetry

if TYPE_CHECKING:
    from collections.abc import Iterator

    from collector.receivers.answers import Service

LIMIT = 64 * 1024
FREE = "127.0.0.1:0"


def free_protocols(limit: int = LIMIT, cors: CorsSettings | None = None) -> OtlpProtocols:
    """Return settings for both protocols on free ports."""
    return OtlpProtocols(
        grpc=GrpcSettings(endpoint=FREE, max_recv_msg_size=limit),
        http=HttpSettings(endpoint=FREE, max_request_body_size=limit, cors=cors or CorsSettings()),
    )


@dataclass
class Served:
    """Running listeners and both sides of their boundary."""

    listeners: Listeners
    grpc: str
    http: str
    intake: FakeIntake
    telemetry: FakeTelemetry

    def connect(self) -> socket.socket:
        """Return a plain connection to the HTTP receiver."""
        host, port = self.http.split(":")
        return socket.create_connection((host, int(port)), timeout=WAIT_S)


def start(
    timeouts: Timeouts | None = None,
    limit: int = LIMIT,
    cors: CorsSettings | None = None,
    services: tuple[Service, ...] = (TRACES,),
) -> Served:
    """Start listeners on free ports."""
    intake, telemetry = FakeIntake(), FakeTelemetry()
    intakes = dict.fromkeys(services, intake)
    listeners = Listeners(free_protocols(limit, cors), intakes, telemetry, timeouts=timeouts)
    listening = listeners.start()
    return Served(listeners, listening["otlp_grpc"], listening["otlp_http"], intake, telemetry)


@pytest.fixture(scope="module")
def _served() -> Iterator[Served]:
    served = start()
    yield served
    served.intake.gate.set()
    served.listeners.stop(1)


@pytest.fixture
def served(_served: Served) -> Served:
    """Running listeners with the product's timeouts, a limit of 64 KiB and empty fakes."""
    _served.intake.reset()
    _served.telemetry.reset()
    return _served


@pytest.fixture(scope="module")
def impatient() -> Iterator[Served]:
    """Running listeners that wait 0.2 s for a client and take any number of pings."""
    served = start(Timeouts(head_s=0.2, body_s=0.2, idle_s=0.2, ping_s=0.0))
    yield served
    served.listeners.stop(1)
