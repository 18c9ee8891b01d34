"""That what names another thing names one that is there."""

import re

from cluster import container_ports, environment, kinds, name_of, pods, selected, server_pods
from facts import HEALTH_NAMES, HTTP_PATHS

# Made by people or by the cluster, not by these manifests.
OUTSIDE = {("Secret", "protoguard-tls"), ("Secret", "protoguard-tokens"),
           ("Secret", "protoguard-models"), ("ConfigMap", "kube-root-ca.crt")}
CHECKSUM = re.compile(r"-[a-z0-9]{10}$")


def selectors_match(docs, _facts):
    templates = list(pods(docs))
    for pod in templates:
        labels = pod.owner["spec"].get("selector", {}).get("matchLabels", {})
        if pod.owner["kind"] == "Deployment" and not (labels and selected(pod.labels, labels)):
            yield f"{pod.name}: its selector does not match its own template"
        for spread in pod.spec.get("topologySpreadConstraints", []):
            if not selected(pod.labels, spread["labelSelector"]["matchLabels"]):
                yield f"{pod.name}: spreads over pods that are not its own"
    for doc in kinds(docs, "Service", "PodDisruptionBudget", "NetworkPolicy"):
        labels = selector_of(doc)
        if labels and not any(selected(pod.labels, labels) for pod in templates):
            yield f"{name_of(doc)}: selects no pod"
        if not labels and doc["kind"] != "NetworkPolicy":
            yield f"{name_of(doc)}: selects every pod"
    for monitor in kinds(docs, "ServiceMonitor"):
        labels = monitor["spec"]["selector"]["matchLabels"]
        found = [doc for doc in kinds(docs, "Service") if selected(doc["metadata"]["labels"], labels)]
        if len(found) != 1:
            yield f"{name_of(monitor)}: selects {len(found)} Services; 1 is expected"


def selector_of(doc):
    spec = doc["spec"]
    if doc["kind"] == "Service":
        return spec.get("selector", {})
    field = "podSelector" if doc["kind"] == "NetworkPolicy" else "selector"
    return spec[field].get("matchLabels", {})


def ports_exist(docs, _facts):
    templates = list(pods(docs))
    for service in kinds(docs, "Service"):
        for pod in templates:
            if not selected(pod.labels, service["spec"]["selector"]):
                continue
            known = {k: v for c in pod.containers for k, v in container_ports(c).items()}
            for port in service["spec"]["ports"]:
                target = port.get("targetPort", port["port"])
                if target not in known and target not in known.values():
                    yield f"{name_of(service)}: targetPort {target} is no port of {pod.name}"
    for policy in kinds(docs, "NetworkPolicy"):
        yield from policy_ports(policy, templates)
    services = kinds(docs, "Service")
    for monitor in kinds(docs, "ServiceMonitor"):
        names = {port["name"] for service in services
                 if selected(service["metadata"]["labels"], monitor["spec"]["selector"]["matchLabels"])
                 for port in service["spec"]["ports"]}
        for endpoint in monitor["spec"]["endpoints"]:
            if endpoint["port"] not in names or endpoint["path"] not in HTTP_PATHS:
                yield f"{name_of(monitor)}: scrapes {endpoint['port']}{endpoint['path']}, not offered"


def policy_ports(policy, templates):
    labels = selector_of(policy)
    known = {name for pod in templates if selected(pod.labels, labels)
             for container in pod.containers for name in container_ports(container)}
    for rule in policy["spec"].get("ingress", []):
        for port in rule.get("ports", []):
            if port["port"] not in known:
                yield f"{name_of(policy)}: lets port {port['port']} in, which no pod has"


def probes_exist(docs, _facts):
    for pod in server_pods(docs):
        container = pod.container("server")
        ports = container_ports(container)
        tls = environment(container).get("PROTOGUARD_SERVER__TLS_CERTIFICATE")
        for kind in ("startupProbe", "readinessProbe", "livenessProbe"):
            probe = container.get(kind)
            if not probe:
                yield f"{pod.name}: no {kind}"
            elif "grpc" in probe:
                yield from grpc_probe(f"{pod.name}, {kind}", probe["grpc"], ports, tls)
            else:
                path, port = probe["httpGet"]["path"], probe["httpGet"]["port"]
                if path not in HTTP_PATHS or ports.get(port, port) != ports["metrics"]:
                    yield f"{pod.name}: {kind} asks {port}{path}, which the server does not answer"


def grpc_probe(where, probe, ports, tls):
    if probe["port"] != ports["grpc"]:
        yield f"{where}: port {probe['port']} is not the gRPC port {ports['grpc']}"
    if probe.get("service", "") not in HEALTH_NAMES:
        yield f"{where}: health service {probe['service']!r} is unknown to the server"
    if tls:
        yield f"{where}: the kubelet's gRPC probes speak no TLS"


def references_exist(docs, _facts):
    there = {(doc["kind"], doc["metadata"]["name"]) for doc in docs} | OUTSIDE
    for pod in pods(docs):
        for kind, name in references(pod):
            if (kind, name) not in there:
                yield f"{pod.name}: {kind} {name} does not exist"
            # The checksum in the name is what rolls the pods.
            if kind == "ConfigMap" and (kind, name) not in OUTSIDE and not CHECKSUM.search(name):
                yield f"{pod.name}: ConfigMap {name} has no checksum in its name"


def references(pod):
    yield "ServiceAccount", pod.spec.get("serviceAccountName", "default")
    volumes = list(pod.volumes.values())
    volumes += [source for volume in volumes for source in volume.get("projected", {}).get("sources", [])]
    for volume in volumes:
        if "configMap" in volume:
            yield "ConfigMap", volume["configMap"]["name"]
        if "secret" in volume:
            yield "Secret", volume["secret"]["secretName"]
        if "persistentVolumeClaim" in volume:
            yield "PersistentVolumeClaim", volume["persistentVolumeClaim"]["claimName"]
    for source in (entry for each in pod.containers for entry in each.get("envFrom", [])):
        if "configMapRef" in source:
            yield "ConfigMap", source["configMapRef"]["name"]
        if "secretRef" in source:
            yield "Secret", source["secretRef"]["name"]


def routes_exist(docs, facts):
    services = {doc["metadata"]["name"]: doc for doc in kinds(docs, "Service")}
    for route in kinds(docs, "GRPCRoute"):
        if not route["spec"]["parentRefs"]:
            yield f"{name_of(route)}: hangs at no gateway"
        for rule in route["spec"]["rules"]:
            for backend in rule["backendRefs"]:
                ports = services.get(backend["name"], {"spec": {"ports": []}})["spec"]["ports"]
                if backend["port"] not in [port["port"] for port in ports]:
                    yield f"{name_of(route)}: backend {backend['name']}:{backend['port']} is not there"
            for method in (match["method"] for match in rule["matches"]):
                known = {m for service, m in facts.methods if service == method["service"]}
                if not known or method.get("method", next(iter(known))) not in known:
                    yield f"{name_of(route)}: the server has no {method}"


def wire_protocol(docs, _facts):
    """Services say h2c exactly where the server speaks it."""
    for pod in server_pods(docs):
        tls = environment(pod.container("server")).get("PROTOGUARD_SERVER__TLS_CERTIFICATE")
        wanted = "https" if tls else "kubernetes.io/h2c"
        for service in kinds(docs, "Service"):
            for port in service["spec"]["ports"]:
                if port["name"] == "grpc" and port.get("appProtocol") != wanted:
                    yield f"{name_of(service)}: appProtocol is {port.get('appProtocol')}, not {wanted}"
        headless = [doc["spec"].get("clusterIP") == "None" for doc in kinds(docs, "Service")]
        if sorted(headless) != [False, True]:
            yield "one Service with an address and one headless Service are expected"


RULES = [selectors_match, ports_exist, probes_exist, references_exist, routes_exist, wire_protocol]
