"""The guide names what is there: every alert, every folder, every file that it links."""

import re

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
