"""Composes the kustomize directories: by kustomize itself where it is to be had, and by hand.

The second way knows only what our kustomizations use (namespace, images, resources, generated
ConfigMaps without the name's hash, JSON 6902 patches), so the manifests are also checked where
there is no kustomize.
"""

from __future__ import annotations

import copy
import shutil
import subprocess
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

Manifest = dict[str, Any]
CLUSTER_SCOPED = {"Namespace"}


def by_hand(root: Path) -> list[Manifest]:
    """Return the documents of a kustomization, composed by this module."""
    spec = yaml.safe_load((root / "kustomization.yaml").read_text())
    documents: list[Manifest] = []
    for entry in spec["resources"]:
        path = (root / entry).resolve()
        documents += by_hand(path) if path.is_dir() else list(yaml.safe_load_all(path.read_text()))
    for generator in spec.get("configMapGenerator", ()):
        files = {name: (root / name).read_text() for name in generator["files"]}
        metadata = {"name": generator["name"]}
        documents.append(
            {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": files},
        )
    for document in documents:
        if "namespace" in spec and document["kind"] not in CLUSTER_SCOPED:
            document["metadata"]["namespace"] = spec["namespace"]
        for image in spec.get("images", ()):
            _set_image(document, image)
    for patch in spec.get("patches", ()):
        operations = yaml.safe_load((root / patch["path"]).read_text())
        for document in documents:
            target = patch["target"]
            if (document["kind"], document["metadata"]["name"]) == (target["kind"], target["name"]):
                for operation in operations:
                    _apply(document, operation)
    return documents


def by_kustomize(command: list[str]) -> Callable[[Path], list[Manifest]]:
    """Return a composer that runs the real kustomize."""

    def compose(root: Path) -> list[Manifest]:
        done = subprocess.run([*command, str(root)], capture_output=True, text=True, check=True)
        return list(yaml.safe_load_all(done.stdout))

    return compose


def composers() -> dict[str, Callable[[Path], list[Manifest]]]:
    """Return the ways to compose that exist on this machine, by name."""
    ways = {"by_hand": by_hand}
    for command in (["kustomize", "build"], ["kubectl", "kustomize"]):
        if shutil.which(command[0]):
            return ways | {"kustomize": by_kustomize(command)}
    return ways


def _set_image(document: Manifest, image: dict[str, str]) -> None:
    pod = document.get("spec", {}).get("template", {}).get("spec", {})
    for container in [*pod.get("initContainers", ()), *pod.get("containers", ())]:
        if container["image"] == image["name"]:
            container["image"] = f"{image['newName']}:{image['newTag']}"


def _apply(document: Manifest, operation: dict[str, Any]) -> None:
    match operation["op"]:
        case "add":
            _insert(document, operation["path"], copy.deepcopy(operation["value"]))
        case "remove":
            _take(document, operation["path"])
        case "move":
            _insert(document, operation["path"], _take(document, operation["from"]))
        case other:
            raise AssertionError(f"teach the composition the operation {other}")


def _parent(document: Manifest, pointer: str) -> tuple[Any, Any]:
    *steps, last = pointer.strip("/").split("/")
    node: Any = document
    for step in steps:
        node = node[int(step) if isinstance(node, list) else step]
    return node, int(last) if isinstance(node, list) else last


def _take(document: Manifest, pointer: str) -> Any:
    node, key = _parent(document, pointer)
    return node.pop(key)


def _insert(document: Manifest, pointer: str, value: Any) -> None:
    node, key = _parent(document, pointer)
    if isinstance(node, list):
        node.insert(key, value)
    else:
        node[key] = value
