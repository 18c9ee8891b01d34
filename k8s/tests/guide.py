"""The guide names what is there: every alert, every folder, every file that it links.

Its overlay of a site and its patch are rendered, and what its pod asks for is read.
"""

import json
import pathlib
import re
import tempfile

import yaml

import render

GUIDE = render.K8S / "README.md"


def problems(text, alerts):
    """What is wrong with the guide's text."""
    told = set(re.findall(r"^\| (Protoguard\w+) \|", text, re.M))
    yield from (f"no advice on the alert {name}" for name in sorted(alerts - told))
    yield from (f"advice on {name}, which is no alert" for name in sorted(told - alerts) if alerts)
    for link in re.findall(r"\]\(([^)#:]+)\)", text):
        if not (render.K8S / link).exists():
            yield f"links {link}, which is not there"
    folders = re.findall(r"`((?:overlays|components|training)/[\w./-]+)`", text)
    yield from (f"names {folder}, which is not there" for folder in folders
                if not (render.K8S / folder).exists())
    there = {str(path.parent.relative_to(render.K8S))
             for path in render.K8S.glob("*/*/kustomization.yaml")} - {"training/base"}
    yield from (f"does not name {folder}" for folder in sorted(there - set(folders)))


def alerts(docs):
    return {rule["alert"] for doc in docs if doc["kind"] == "PrometheusRule"
            for group in doc["spec"]["groups"] for rule in group["rules"] if "alert" in rule}


def site(text):
    """The documents of the guide's own overlay with its patch, rendered beside k8s/."""
    overlay, patch = (yaml.safe_load(block) for block in blocks(text, "yaml"))
    if render.missing_files("monitoring"):
        overlay["components"].remove("../k8s/monitoring")
    with tempfile.TemporaryDirectory() as folder:
        (pathlib.Path(folder) / "k8s").symlink_to(render.K8S)
        own = pathlib.Path(folder, "my-site")
        own.mkdir()
        (own / "kustomization.yaml").write_text(yaml.safe_dump({**overlay, **patch}))
        return render.kustomize(own)


def blocks(text, language):
    found = re.findall(r"^( *)```%s\n(.*?)^ *```" % language, text, re.M | re.S)
    return [re.sub(r"^%s" % indent, "", block, flags=re.M) for indent, block in found]


def example_problems(text):
    """What is wrong with the examples, as far as they run without a cluster."""
    docs = site(text)
    images = [container["image"] for doc in docs if doc["kind"] == "Deployment"
              for container in doc["spec"]["template"]["spec"]["containers"]]
    if images != ["REGISTRY/protoguard/server-cuda:0.1.0"]:
        yield f"the site's images are {images}"
    if "MAX_BATCH_SIZE" not in str(docs) or "value': '16'" not in str(docs):
        yield "the patch did not reach the Deployment"
    for text_of_pod in re.findall(r"--overrides='\n(.*?)'", text, re.S):
        pod = json.loads(text_of_pod)["spec"]
        security = pod["containers"][0]["securityContext"]
        if not pod["securityContext"]["runAsNonRoot"] or security["capabilities"]["drop"] != ["ALL"]:
            yield "the pod that copies a checkpoint is not let into the namespace"
