# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The hook for Kubernetes by the real kubectl, where there is one, on as much of an API server as it asks for."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from faked_hooks import play

KUBECTL = shutil.which("kubectl")
pytestmark = pytest.mark.skipif(KUBECTL is None, reason="kubectl is not installed")

_RESOURCES = [("nodes", "Node", False), ("pods", "Pod", True)]


class Cluster:
    """One node, with a pod that a daemon set made and one that goes when it is evicted."""

    def __init__(self) -> None:
        self.node: dict[str, Any] = {
            "kind": "Node", "apiVersion": "v1", "metadata": {"name": "node-1"}, "spec": {}
        }  # fmt: skip
        self.pods = {
            name: self._pod(name, kind) for name, kind in (("web", "ReplicaSet"), ("net", "DaemonSet"))
        }
        self.did: list[str] = []

    @staticmethod
    def _pod(name: str, kind: str) -> dict[str, Any]:
        owner = {"apiVersion": "apps/v1", "kind": kind, "name": "o", "uid": "1", "controller": True}
        return {
            "kind": "Pod", "apiVersion": "v1", "spec": {"nodeName": "node-1"}, "status": {"phase": "Running"},
            "metadata": {"name": name, "namespace": "default", "uid": name, "ownerReferences": [owner]},
        }  # fmt: skip

    def answer(self, method: str, path: str, body: Any) -> Any:
        """What the server says; None for what is not there."""
        path = path.partition("?")[0].rstrip("/")
        if path == "/api":
            return {"kind": "APIVersions", "versions": ["v1"]}
        if path == "/apis":
            return {"kind": "APIGroupList", "apiVersion": "v1", "groups": []}
        if path == "/api/v1":
            verbs = ["get", "list", "patch", "create"]
            found = [
                {"name": name, "kind": kind, "namespaced": inside, "singularName": "", "verbs": verbs}
                for name, kind, inside in _RESOURCES
            ]
            eviction = {
                "name": "pods/eviction", "kind": "Eviction", "namespaced": True, "singularName": "", "group": "policy",
                "version": "v1", "verbs": ["create"],
            }  # fmt: skip
            return {"kind": "APIResourceList", "groupVersion": "v1", "resources": [*found, eviction]}
        if path == "/api/v1/nodes/node-1":
            if method == "PATCH":
                self._patch(self.node, body)
                self.did.append(json.dumps(body, sort_keys=True))
            return self.node
        if path == "/api/v1/pods":
            return {"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": [*self.pods.values()]}
        place = path.split("/")
        if path.endswith("/eviction"):
            self.did.append(f"evict {place[-2]}")
            del self.pods[place[-2]]
            return {"kind": "Status", "apiVersion": "v1", "status": "Success"}
        if path == "/apis/apps/v1/namespaces/default/daemonsets/o":
            return {
                "kind": "DaemonSet",
                "apiVersion": "apps/v1",
                "metadata": {"name": "o", "namespace": "default"},
            }
        return self.pods.get(place[-1])

    def _patch(self, there: dict[str, Any], patch: dict[str, Any]) -> None:
        for key, value in patch.items():
            if value is None:
                there.pop(key, None)
            elif isinstance(value, dict):
                self._patch(there.setdefault(key, {}), value)
            else:
                there[key] = value


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[tuple[Cluster, Path]]:
    """The cluster, and the kubeconfig that leads to it."""
    made = Cluster()

    class Handler(BaseHTTPRequestHandler):
        def _serve(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            found = made.answer(self.command, self.path, json.loads(body) if body else None)
            lost = {
                "kind": "Status",
                "apiVersion": "v1",
                "status": "Failure",
                "reason": "NotFound",
                "code": 404,
            }
            said = json.dumps(lost if found is None else found).encode()
            self.send_response(404 if found is None else 200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(said)))
            self.end_headers()
            self.wfile.write(said)

        do_GET = do_POST = do_PATCH = _serve

        def log_message(self, *words: object) -> None:
            """Nothing to standard error."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    config = {
        "apiVersion": "v1", "kind": "Config", "current-context": "c",
        "clusters": [{"name": "c", "cluster": {"server": f"http://127.0.0.1:{server.server_port}"}}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        "users": [{"name": "u", "user": {}}],
    }  # fmt: skip
    (tmp_path / "kubeconfig").write_text(json.dumps(config))
    yield made, tmp_path / "kubeconfig"
    server.shutdown()
    server.server_close()


def kubectl(config: Path) -> list[str]:
    return [str(KUBECTL), "--kubeconfig", str(config), "--cache-dir", str(config.parent / "cache")]


def test_a_node_is_drained_and_comes_back(cluster: tuple[Cluster, Path]) -> None:
    made, config = cluster
    status, said = play(config.parent, "kubernetes_drain", carveout_kubectl=kubectl(config))
    assert status == 0 and "kubernetes_drain failed" not in said, said
    assert made.node["spec"] == {"unschedulable": True}
    assert made.node["metadata"]["annotations"] == {"carveout.memory/cordoned": "true"}
    assert list(made.pods) == ["net"] and made.did[-1] == "evict web"
    status, said = play(config.parent, "kubernetes_restore", carveout_kubectl=kubectl(config))
    assert status == 0 and "kubernetes_restore failed" not in said, said
    assert not made.node["spec"].get("unschedulable")
    assert not made.node["metadata"].get("annotations")


def test_a_node_that_somebody_else_cordoned_stays_so(cluster: tuple[Cluster, Path]) -> None:
    made, config = cluster
    made.node["spec"]["unschedulable"] = True
    status, said = play(
        config.parent, "kubernetes_drain", "kubernetes_restore", carveout_kubectl=kubectl(config)
    )
    assert status == 0 and " failed" not in said.partition("PLAY RECAP")[0], said
    assert made.node["spec"] == {"unschedulable": True} and made.did == ["evict web"]
