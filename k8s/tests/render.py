"""Renders the overlays and what people combine with them, by `kubectl kustomize`."""

import os
import pathlib
import subprocess
import tempfile

import yaml

K8S = pathlib.Path(__file__).resolve().parent.parent
MONITORING = "monitoring"
# The files that monitoring/ is made from.
MONITORING_FILES = ("alerts.yaml", "dashboard.json")

# Name: the folders that are resources, and the components over them.
TARGETS = {
    "cpu": (["overlays/cpu"], []),
    "gpu": (["overlays/gpu"], []),
    "gpu-mig": (["overlays/gpu-mig"], []),
    "hpa": (["overlays/cpu"], ["components/hpa"]),
    "keda": (["overlays/cpu"], ["components/keda"]),
    "networkpolicy": (["overlays/cpu"], ["components/networkpolicy"]),
    "mtls": (["overlays/cpu"], ["components/mtls"]),
    "tokens": (["overlays/cpu"], ["components/tokens"]),
    "grpcroute": (["overlays/cpu"], ["components/grpcroute"]),
    "models-fetch": (["overlays/cpu"], ["components/models-fetch"]),
    "models-image": (["overlays/gpu"], ["components/models-image"]),
    "monitoring": (["overlays/cpu"], [MONITORING]),
    "whole": (["overlays/gpu"], ["components/keda", "components/networkpolicy", "components/mtls",
                                 "components/tokens", "components/models-fetch"]),
    "train": (["training/run"], []),
    "train-gpu": (["training/run"], ["components/trainer-gpu", "components/kueue"]),
    "grid": (["training/grid"], []),
    "grid-gpu": (["training/grid"], ["components/trainer-gpu", "components/kueue"]),
    "recalibrate": (["overlays/cpu", "training/recalibrate"], []),
}


class RenderError(Exception):
    """Kustomize's own words."""


def missing_files(target):
    """Files that a target is made from and that are not there."""
    if MONITORING not in TARGETS[target][1]:
        return []
    return [name for name in MONITORING_FILES if not (K8S / MONITORING / name).exists()]


def kustomize(folder):
    done = subprocess.run(["kubectl", "kustomize", str(folder)], capture_output=True, text=True,
                          check=False)
    if done.returncode != 0 or "deprecated" in done.stderr.lower():
        raise RenderError(done.stderr.strip())
    return [doc for doc in yaml.load_all(done.stdout, Loader=yaml.CSafeLoader) if doc]


def render(target):
    """The documents of one target."""
    resources, components = TARGETS[target]
    if len(resources) == 1 and not components:
        return kustomize(K8S / resources[0])
    with tempfile.TemporaryDirectory() as folder:
        def relative(names):
            real = os.path.realpath(folder)
            return [os.path.relpath(K8S / name, real) for name in names]

        kustomization = {"apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization",
                         "resources": relative(resources), "components": relative(components)}
        pathlib.Path(folder, "kustomization.yaml").write_text(yaml.safe_dump(kustomization))
        return kustomize(folder)
