"""The Kubernetes manifests: valid for the API, restricted, and in agreement with our settings."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import kubernetes_validate
import pytest

from config.loader import load_settings
from config.types import parse_size, split_endpoint
from tests.deploy.composition import Manifest, composers

if TYPE_CHECKING:
    from config.settings import ClearspanSettings

KUBERNETES = Path(__file__).parents[2] / "deploy" / "kubernetes"
BASE = KUBERNETES / "base"
PLAIN = KUBERNETES / "overlays" / "pre-1.29"
WAYS = composers()
POD_LABELS = {"app.kubernetes.io/name": "example-app"}
IDENTITY = 10001


@dataclass(frozen=True)
class Composed:
    """One kustomization, composed."""

    root: Path
    documents: list[Manifest]

    def one(self, kind: str) -> Manifest:
        """Return the only document of a kind."""
        (found,) = [document for document in self.documents if document["kind"] == kind]
        return found

    @property
    def pod(self) -> Manifest:
        """Return the Deployment's pod spec."""
        return self.one("Deployment")["spec"]["template"]["spec"]

    @property
    def containers(self) -> dict[str, Manifest]:
        """Return every container of the pod by name, init containers too."""
        every = [*self.pod.get("initContainers", ()), *self.pod["containers"]]
        return {container["name"]: container for container in every}

    @property
    def sidecar(self) -> Manifest:
        """Return clearspan's container."""
        return self.containers["clearspan"]


def _variants() -> list[Any]:
    return [
        pytest.param((way, root), id=f"{root.name}-{name}")
        for name, way in WAYS.items()
        for root in (BASE, PLAIN)
    ]


@pytest.fixture(scope="module", params=_variants())
def composed(request: pytest.FixtureRequest) -> Composed:
    """Give every kustomization, composed in every way this machine has."""
    way, root = request.param
    return Composed(root, way(root))


@pytest.fixture(scope="module")
def settings() -> ClearspanSettings:
    """Give what the sidecar in the manifests runs with."""
    return load_settings([BASE / "config.yaml"], [], {})


@pytest.mark.parametrize("version", ["1.29", "1.31", kubernetes_validate.latest_version()])
def test_every_document_is_valid_for_the_api(composed: Composed, version: str) -> None:
    """Scenario: the documents against the API's own schemas, unknown fields refused.

    Guarantees: `kubectl apply` takes them. The PodMonitor has no schema there: tested below.
    """
    checked = [document for document in composed.documents if document["kind"] != "PodMonitor"]
    assert {document["kind"] for document in checked} == {
        "Namespace",
        "ConfigMap",
        "Deployment",
        "NetworkPolicy",
    }
    for document in checked:
        kubernetes_validate.validate(document, version, strict=True)


def test_strict_validation_would_find_a_wrong_field(composed: Composed) -> None:
    """Scenario: a field that Kubernetes does not know. Guarantees: the check above can fail."""
    broken = composed.one("NetworkPolicy") | {"specs": {}}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(broken, "1.29", strict=True)


def test_native_sidecar_starts_before_the_app() -> None:
    """Scenario: the base. Guarantees: started first, awaited by /ready, restarted, ends last."""
    for way in WAYS.values():
        composed = Composed(BASE, way(BASE))
        assert [container["name"] for container in composed.pod["initContainers"]] == ["clearspan"]
        assert composed.sidecar["restartPolicy"] == "Always"
        assert [container["name"] for container in composed.pod["containers"]] == ["app"]
        assert "lifecycle" not in composed.sidecar


def test_before_1_29_it_is_a_plain_container_that_outlives_the_app() -> None:
    """Scenario: the overlay, against 1.25's schemas as well, which know no native sidecars.

    Guarantees: clearspan is the first of the containers and delays its own SIGTERM.
    """
    for way in WAYS.values():
        composed = Composed(PLAIN, way(PLAIN))
        assert "initContainers" not in composed.pod
        assert [item["name"] for item in composed.pod["containers"]] == ["clearspan", "app"]
        assert "restartPolicy" not in composed.sidecar
        assert composed.sidecar["lifecycle"]["preStop"]["exec"]["command"][0].startswith("/opt/")
        kubernetes_validate.validate(composed.one("Deployment"), "1.25", strict=True)


def test_pod_meets_the_restricted_standard(composed: Composed) -> None:
    """Scenario: every rule of the restricted Pod Security Standard, and ours on top.

    Guarantees: the namespace's `enforce: restricted` admits the pod; nobody writes to the image.
    """
    labels = composed.one("Namespace")["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"
    pod = composed.pod
    assert not {"hostNetwork", "hostPID", "hostIPC"} & pod.keys()
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["runAsUser"] == IDENTITY
    assert pod["securityContext"]["runAsGroup"] == IDENTITY
    assert pod["securityContext"]["fsGroup"] == IDENTITY
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    for volume in pod["volumes"]:
        assert volume.keys() & {"configMap", "emptyDir", "secret", "projected", "downwardAPI"}
    for container in composed.containers.values():
        context = container["securityContext"]
        assert context["allowPrivilegeEscalation"] is False
        assert context["readOnlyRootFilesystem"] is True
        assert context["runAsNonRoot"] is True
        assert context["capabilities"] == {"drop": ["ALL"]}
        assert not {"privileged", "runAsUser", "seccompProfile", "procMount"} & context.keys()
        assert not any("hostPort" in port for port in container.get("ports", ()))


def test_config_map_holds_a_config_that_loads(composed: Composed, tmp_path: Path) -> None:
    """Scenario: the generated ConfigMap's file goes through our loader.

    Guarantees: the pod starts with it, and it is the file the other tests read.
    """
    config_map = composed.one("ConfigMap")
    volumes = {volume["name"]: volume for volume in composed.pod["volumes"]}
    assert volumes["clearspan-config"]["configMap"]["name"] == config_map["metadata"]["name"]
    ((name, text),) = config_map["data"].items()
    (tmp_path / name).write_text(text)
    assert load_settings([tmp_path / name], [], {}) == load_settings([BASE / name], [], {})
    mounts = {mount["name"]: mount["mountPath"] for mount in composed.sidecar["volumeMounts"]}
    assert composed.sidecar["args"] == ["run", "--config", f"{mounts['clearspan-config']}/{name}"]


def test_ports_and_probes_agree_with_the_config(
    composed: Composed,
    settings: ClearspanSettings,
) -> None:
    """Scenario: probes, ports, PodMonitor, NetworkPolicy, exporter URL against the settings.

    Guarantees: kubelet and Prometheus reach the pod IP; OTLP is the app's alone.
    """
    health = split_endpoint(settings.extensions.health_check.endpoint)
    metrics = split_endpoint(settings.exporters.prometheus.endpoint)
    assert health[0] == metrics[0] == "0.0.0.0"  # noqa: S104 - the pod IP is what is asked for
    ports = {port["name"]: port["containerPort"] for port in composed.sidecar["ports"]}
    assert ports == {"cs-health": health[1], "cs-metrics": metrics[1]}
    for probe, path in (("startupProbe", "/ready"), ("livenessProbe", "/live")):
        assert composed.sidecar[probe]["httpGet"] == {"path": path, "port": "cs-health"}
    assert "readinessProbe" not in composed.sidecar
    (endpoint,) = composed.one("PodMonitor")["spec"]["podMetricsEndpoints"]
    assert ports[endpoint["port"]] == metrics[1]
    assert endpoint["path"] == "/metrics"
    (rule,) = composed.one("NetworkPolicy")["spec"]["ingress"]
    assert rule["ports"] == [{"protocol": "TCP", "port": metrics[1]}]
    grpc = settings.receivers.otlp.protocols.grpc
    http = settings.receivers.otlp.protocols.http
    assert grpc is not None
    assert http is not None
    assert split_endpoint(grpc.endpoint)[0] == split_endpoint(http.endpoint)[0] == "127.0.0.1"
    environment = {item["name"]: item for item in composed.containers["app"]["env"]}
    assert environment["OTEL_EXPORTER_OTLP_ENDPOINT"]["value"] == f"http://{grpc.endpoint}"


def test_pod_monitor_has_the_shape_of_its_definition(composed: Composed) -> None:
    """Scenario: monitoring.coreos.com/v1 PodMonitor, checked by hand.

    Guarantees: no misspelt field, durations that Prometheus reads, and it selects the pod.
    """
    monitor = composed.one("PodMonitor")
    assert monitor["apiVersion"] == "monitoring.coreos.com/v1"
    assert monitor["spec"].keys() == {"selector", "podMetricsEndpoints"}
    (endpoint,) = monitor["spec"]["podMetricsEndpoints"]
    assert endpoint.keys() == {"port", "path", "interval", "scrapeTimeout"}
    assert int(endpoint["scrapeTimeout"].removesuffix("s")) < int(
        endpoint["interval"].removesuffix("s"),
    )
    template = composed.one("Deployment")["spec"]["template"]
    for labels in (
        monitor["spec"]["selector"]["matchLabels"],
        composed.one("NetworkPolicy")["spec"]["podSelector"]["matchLabels"],
        composed.one("Deployment")["spec"]["selector"]["matchLabels"],
        template["metadata"]["labels"],
    ):
        assert labels == POD_LABELS


def test_app_is_told_where_it_runs(composed: Composed) -> None:
    """Scenario: the app's environment. Guarantees: each reference stands before its use."""
    names: list[str] = []
    for item in composed.containers["app"]["env"]:
        if item["name"] == "OTEL_RESOURCE_ATTRIBUTES":
            break
        names.append(item["name"])
    attributes = dict(pair.split("=") for pair in item["value"].split(","))
    assert attributes == {
        "k8s.namespace.name": "$(K8S_NAMESPACE_NAME)",
        "k8s.pod.name": "$(K8S_POD_NAME)",
        "k8s.pod.uid": "$(K8S_POD_UID)",
        "k8s.node.name": "$(K8S_NODE_NAME)",
        "service.instance.id": "$(K8S_POD_UID)",
    }
    assert {value[2:-1] for value in attributes.values()} <= set(names)


def test_limits_leave_room_for_what_the_config_allows(
    composed: Composed,
    settings: ClearspanSettings,
) -> None:
    """Scenario: disk and memory budgets of the config against the pod's.

    Guarantees: retention bounds the volume before kubelet evicts the pod (a compaction may hold a
    second copy of a quarter of the lake); the buffers fit beside the 300 MB the process needs;
    the drain ends within the pod's grace, preStop included.
    """
    lake = settings.exporters.lake
    volumes = {volume["name"]: volume for volume in composed.pod["volumes"]}
    room = _bytes(volumes["clearspan-data"]["emptyDir"]["sizeLimit"])
    # spans and log records each have a lake, a journal and a buffer of their own
    assert 2 * (lake.retention.max_bytes * 1.25 + lake.journal.max_bytes) < room
    mounts = {mount["name"]: mount for mount in composed.sidecar["volumeMounts"]}
    assert lake.path.startswith(mounts["clearspan-data"]["mountPath"] + "/")
    assert "readOnly" not in mounts["clearspan-data"]
    buffers = (
        settings.extensions.memory_limiter.max_in_flight_bytes
        + 2 * lake.max_pending_bytes
        + settings.processors.tail_sampling.max_pending_bytes
    )
    resources = composed.sidecar["resources"]
    assert 300_000_000 + buffers < _bytes(resources["limits"]["memory"])
    assert _bytes(resources["requests"]["memory"]) >= 300_000_000
    pause = composed.sidecar.get("lifecycle", {}).get("preStop", {}).get("exec", {})
    delay = float(pause["command"][-1].partition("sleep(")[2][:-1]) if pause else 0
    grace = composed.pod["terminationGracePeriodSeconds"]
    assert delay + settings.service.shutdown_grace < grace


def _bytes(quantity: str) -> int:
    """Return the bytes of a Kubernetes quantity with a binary suffix, which lacks our B."""
    size = parse_size(quantity + "B")
    assert isinstance(size, int)
    return size
