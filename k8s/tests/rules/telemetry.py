"""Metric names in scaling, alerts and the dashboard are names that the server exports.

A query for a name that does not exist is no error in Prometheus: the panel stays empty and the alert
silent for ever.
"""

import json
import re

from cluster import kinds, name_of

NAME = re.compile(r"\bprotoguard_\w+")
SUFFIXES = ("_bucket", "_sum", "_count")
# A selector's labels, as in name{a="b",c=~"d"}.
SELECTOR = re.compile(r"\b(protoguard_\w+)\{([^}]*)\}")
# What Prometheus adds to every series of a scraped pod.
TARGET_LABELS = {"job", "instance", "namespace", "pod", "service", "container", "endpoint", "node",
                 "cluster", "le"}


def metrics_exist(docs, facts):
    for where, query in queries(docs):
        yield from (f"{where}: {problem}" for problem in problems(query, facts))


def metrics_are_charted(docs, facts):
    """A metric that no panel shows is one that nobody will look at.

    Who scrapes or alerts has a dashboard too, which Grafana's sidecar finds by its label.
    """
    charted = " ".join(query for _, query in dashboards(docs))
    if charted:
        yield from (f"the dashboard does not chart {name}" for name in facts.metrics
                    if not re.search(rf"\b{name}({'|'.join(SUFFIXES)})?\b", charted))
    elif kinds(docs, "ServiceMonitor", "PrometheusRule"):
        yield "no ConfigMap has the label grafana_dashboard and panels"


def problems(query, facts):
    for name in set(NAME.findall(query)):
        if family(name, facts) is None:
            yield f"the server exports no {name}"
    for name, inside in SELECTOR.findall(query):
        known = (family(name, facts) or ("", set()))[1] | TARGET_LABELS
        for label in re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", inside):
            if label not in known:
                yield f"{name} has no label {label}"


def family(name, facts):
    """Kind and labels of the family that a series belongs to, or None."""
    if name in facts.metrics:
        found = facts.metrics[name]
        return found if found[0] != "histogram" else None
    for suffix in SUFFIXES:
        base = facts.metrics.get(name.removesuffix(suffix))
        if name.endswith(suffix) and base and base[0] == "histogram":
            return base
    return None


def queries(docs):
    """Every expression, and where it stands."""
    for rule_set in kinds(docs, "PrometheusRule"):
        for group in rule_set["spec"]["groups"]:
            for rule in group["rules"]:
                yield f"{name_of(rule_set)}, {rule.get('alert', rule.get('record'))}", rule["expr"]
    for scaled in kinds(docs, "ScaledObject"):
        for trigger in scaled["spec"]["triggers"]:
            yield name_of(scaled), trigger["metadata"]["query"]
    for scaler in kinds(docs, "HorizontalPodAutoscaler"):
        for metric in scaler["spec"]["metrics"]:
            yield name_of(scaler), metric["pods"]["metric"]["name"]
    yield from dashboards(docs)


def dashboards(docs):
    """Every expression of a dashboard, and where it stands."""
    for config in kinds(docs, "ConfigMap"):
        if config["metadata"].get("labels", {}).get("grafana_dashboard"):
            for text in config["data"].values():
                yield from ((name_of(config), query) for query in panel_queries(json.loads(text)))


def panel_queries(node):
    """The expressions of a dashboard, wherever they are nested."""
    if isinstance(node, dict):
        for key, value in node.items():
            if key in ("expr", "query", "definition") and isinstance(value, str):
                yield value
            else:
                yield from panel_queries(value)
    if isinstance(node, list):
        for each in node:
            yield from panel_queries(each)


RULES = [metrics_exist, metrics_are_charted]
