"""Dockerfile and compose file: reproducible, unprivileged, and in agreement with our settings.

There is no container engine in CI, so the image's build steps are also run without one: the
locked, production-only install into a fresh environment, then the command under the image's uid.
"""

from __future__ import annotations

import fnmatch
import os
import re
import shlex
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from config.loader import load_settings
from config.types import split_endpoint

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
IDENTITY = 10001
COMPOSE: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())


@dataclass(frozen=True)
class Instruction:
    """One instruction of a Dockerfile and the number of the stage it stands in (from 0)."""

    stage: int
    word: str
    rest: str


def _instructions() -> list[Instruction]:
    text = (DEPLOY / "Dockerfile").read_text()
    joined = re.sub(r"\\\n\s*", "", "\n".join(re.findall(r"^(?!#).+$", text, re.MULTILINE)))
    found: list[Instruction] = []
    stage = -1
    for line in joined.splitlines():
        word, _, rest = line.partition(" ")
        stage += word == "FROM"
        found.append(Instruction(stage, word, rest.strip()))
    return found


INSTRUCTIONS = _instructions()


def _final(word: str) -> list[str]:
    last = INSTRUCTIONS[-1].stage
    return [item.rest for item in INSTRUCTIONS if item.stage == last and item.word == word]


def test_base_and_tools_are_pinned() -> None:
    """Scenario: what the image is built from. Guarantees: the same tomorrow as today."""
    arguments = dict(item.rest.split("=", 1) for item in INSTRUCTIONS if item.word == "ARG")
    assert re.fullmatch(r"python:3\.\d+\.\d+-slim-\w+", arguments["PYTHON_IMAGE"])
    stages = [item.rest for item in INSTRUCTIONS if item.word == "FROM"]
    assert stages == ["${PYTHON_IMAGE} AS build", "${PYTHON_IMAGE}"]
    assert re.fullmatch(r"\d+\.\d+\.\d+", arguments["UV_VERSION"])
    syncs = [item.rest for item in INSTRUCTIONS if "uv sync" in item.rest]
    assert len(syncs) == 2
    assert all("--locked --no-dev --no-editable" in sync for sync in syncs)


def test_image_runs_unprivileged_and_in_exec_form() -> None:
    """Scenario: the final stage. Guarantees: numeric non-root user, signals reach clearspan."""
    assert _final("USER") == [f"{IDENTITY}:{IDENTITY}"]
    assert _final("ENTRYPOINT") == ['["clearspan"]']
    assert _final("CMD") == ['["run", "--config", "/etc/clearspan/config.yaml"]']
    assert _final("VOLUME") == ['["/var/lib/clearspan"]']
    (check,) = _final("HEALTHCHECK")
    assert 'CMD ["/opt/clearspan/bin/python", "-c"' in check
    words = [item.word for item in INSTRUCTIONS]
    assert "ADD" not in words
    assert not re.search(
        r"(?i)(password|secret|token|api_?key)",
        " ".join(item.rest for item in INSTRUCTIONS),
    )
    (label,) = _final("LABEL")
    version = re.search(r'^version = "(.+)"', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert version is not None
    assert f'org.opencontainers.image.version="{version[1]}"' in label


def test_every_copied_source_is_in_the_repository_and_the_build_context() -> None:
    """Scenario: COPY against git and the ignore file. Guarantees: the build finds its files.

    And nothing else gets in: data, virtual environments, .git.
    """
    lines = (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines()
    rules = [line for line in lines if line and not line.startswith("#")]
    assert rules[0] == "*"
    allowed = {rule[1:].rstrip("/") for rule in rules if rule.startswith("!")}
    listed = _tracked()
    copied: set[str] = set()
    for item in INSTRUCTIONS:
        if item.word == "COPY" and "--from" not in item.rest:
            copied |= {source.rstrip("/") for source in item.rest.split()[:-1]}
    assert copied == allowed
    for source in copied:
        assert fnmatch.filter(listed, source) or fnmatch.filter(listed, f"{source}/*"), source


def test_image_config_and_probe_agree() -> None:
    """Scenario: the image's config through our loader. Guarantees: data goes to the volume.

    OTLP stays on localhost, health and metrics are reachable, ports are the exposed ones.
    """
    settings = load_settings([DEPLOY / "config.yaml"], [], {})
    assert Path(settings.exporters.lake.path).is_relative_to("/var/lib/clearspan")
    grpc, http = settings.receivers.otlp.protocols.grpc, settings.receivers.otlp.protocols.http
    assert grpc is not None
    assert http is not None
    endpoints = [
        split_endpoint(endpoint)
        for endpoint in (
            grpc.endpoint,
            http.endpoint,
            settings.exporters.prometheus.endpoint,
            settings.extensions.health_check.endpoint,
        )
    ]
    assert [host for host, _ in endpoints] == ["127.0.0.1", "127.0.0.1", "0.0.0.0", "0.0.0.0"]  # noqa: S104
    assert _final("EXPOSE") == [" ".join(str(port) for _, port in endpoints)]
    assert f"http://127.0.0.1:{endpoints[3][1]}/live" in _final("HEALTHCHECK")[0]


@pytest.mark.timeout(240)
def test_locked_install_runs_as_the_images_user() -> None:
    """Scenario: the build's commands in a copy of the context, then `clearspan` as uid 10001.

    The installation belongs to root and cannot be written by that uid.
    Guarantees: the lock is complete without the dev group and the sources; every module that the
    command needs is in the wheel; a home that cannot be written is no trouble.
    """
    # not pytest's directory, which no other uid may enter
    with tempfile.TemporaryDirectory() as scratch:
        scratch_path = Path(scratch)
        scratch_path.chmod(0o755)
        _copy_context(scratch_path / "src")
        _install(scratch_path / "src", scratch_path / "venv")
        installed = scratch_path / "venv" / "bin"
        assert not (installed / "pytest").exists()
        for arguments in (["--version"], ["components"]):
            done = subprocess.run(
                [*_unprivileged(), str(installed / "clearspan"), *arguments],
                cwd="/",
                env={"PATH": os.defpath, "HOME": "/nonexistent", "PYTHONDONTWRITEBYTECODE": "1"},
                capture_output=True,
                text=True,
                check=False,
            )
            assert done.returncode == 0, done.stderr
            assert done.stdout.strip()


def _unprivileged() -> list[str]:
    """Return what makes root a user who may write nowhere; an ordinary user stays what it is.

    It keeps the right to read, since the interpreter may be below root's closed home.
    """
    if os.getuid() != 0:
        return []
    identity = [f"--reuid={IDENTITY}", f"--regid={IDENTITY}", "--clear-groups"]
    return ["setpriv", *identity, "--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"]


def _copy_context(target: Path) -> None:
    sources = ["pyproject.toml", "uv.lock", "README.md", "LICENSE"]
    packages = ["collector", "processors", "storage", "config"]
    for name in _tracked(*sources, *packages):
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        (target / name).write_bytes((ROOT / name).read_bytes())


def _install(source: Path, environment: Path) -> None:
    sync = next(item.rest for item in reversed(INSTRUCTIONS) if "uv sync" in item.rest)
    command = shlex.split(sync.replace("${EXTRAS}", ""))
    variables = os.environ | {
        "UV_PROJECT_ENVIRONMENT": str(environment),
        "UV_PYTHON": sys.executable,
        "UV_PYTHON_DOWNLOADS": "never",
    }
    variables.pop("VIRTUAL_ENV", None)
    uv = Path(sys.executable).with_name("uv")
    subprocess.run([str(uv), "--quiet", *command[1:]], cwd=source, env=variables, check=True)


def _tracked(*paths: str) -> list[str]:
    command = ["git", "ls-files", *paths]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout.split()


def test_compose_runs_the_sidecar_in_the_apps_network() -> None:
    """Scenario: compose.yaml's structure. Guarantees: sidecar as in a pod, locked down alike."""
    services = COMPOSE["services"]
    assert services.keys() == {"app", "clearspan", "prometheus"}
    assert services["clearspan"]["network_mode"] == "service:app"
    assert "ports" not in services["clearspan"]  # not allowed with another service's network
    for name in ("app", "clearspan"):
        service = services[name]
        build = service["build"]
        assert (DEPLOY / build["context"] / build["dockerfile"]).samefile(DEPLOY / "Dockerfile")
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
    entries = [entry for service in services.values() for entry in service.get("volumes", ())]
    mounts = [entry.split(":")[:2] for entry in entries]
    for source, _ in mounts:
        assert source in COMPOSE["volumes"] or (DEPLOY / source).is_file()
    assert ["clearspan-data", _final("WORKDIR")[0]] in mounts
    for service in services.values():
        assert re.search(r":v?\d+\.\d+\.\d+$", service["image"])


def test_compose_and_prometheus_agree_with_the_image() -> None:
    """Scenario: addresses across the files. Guarantees: the app sends and Prometheus scrapes."""
    settings = load_settings([DEPLOY / "config.yaml"], [], {})
    grpc = settings.receivers.otlp.protocols.grpc
    assert grpc is not None
    environment = COMPOSE["services"]["app"]["environment"]
    assert environment["OTEL_EXPORTER_OTLP_ENDPOINT"] == f"http://{grpc.endpoint}"
    prometheus = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text())
    _, port = split_endpoint(settings.exporters.prometheus.endpoint)
    (job,) = prometheus["scrape_configs"]
    assert job["static_configs"] == [{"targets": [f"app:{port}"]}]
    grace = int(COMPOSE["services"]["clearspan"]["stop_grace_period"].removesuffix("s"))
    assert settings.service.shutdown_grace < grace
