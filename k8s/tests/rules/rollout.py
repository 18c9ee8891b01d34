"""Stops, updates and disruptions that lose no request."""

from cluster import kinds, name_of, pods, selected, server_pods
from rules.server import effective


def grace_is_enough(docs, _facts):
    for pod in server_pods(docs):
        config = effective(docs, pod)
        pre_stop = pod.container("server").get("lifecycle", {}).get("preStop", {})
        sleep = pre_stop.get("sleep", {}).get("seconds", 0)
        if sleep < 1:
            yield f"{pod.name}: no preStop sleep, so endpoints still name the pod at SIGTERM"
        drain = (int(config["drain_grace_ms"]) + int(config["drain_timeout_ms"])) / 1000
        grace = pod.spec.get("terminationGracePeriodSeconds", 30)
        if sleep + drain >= grace:
            yield f"{pod.name}: preStop {sleep} s + drain {drain:g} s ≥ {grace} s of grace"


def least_replicas(docs, deployment):
    """The fewest replicas that an autoscaler or the deployment itself keeps."""
    for scaler in kinds(docs, "HorizontalPodAutoscaler", "ScaledObject"):
        if scaler["spec"]["scaleTargetRef"]["name"] == deployment["metadata"]["name"]:
            return scaler["spec"].get("minReplicas", scaler["spec"].get("minReplicaCount", 0))
    return deployment["spec"].get("replicas", 1)


def update_fits(docs, _facts):
    for pod in pods(docs):
        if pod.owner["kind"] != "Deployment":
            continue
        update = pod.owner["spec"]["strategy"].get("rollingUpdate", {})
        surge, unavailable = update.get("maxSurge"), update.get("maxUnavailable")
        limits = [c.get("resources", {}).get("limits", {}) for c in pod.containers]
        gpu = any(name.startswith("nvidia.com/") for each in limits for name in each)
        least = least_replicas(docs, pod.owner)
        if gpu and (surge != 0 or unavailable != 1):
            yield f"{pod.name}: maxSurge {surge} waits for a GPU that no node has to spare"
        if not gpu and (surge in (0, None) or unavailable != 0):
            yield f"{pod.name}: maxSurge {surge}, maxUnavailable {unavailable}; 1 and 0 are expected"
        if least < 2:
            yield f"{pod.name}: {least} replicas; while one is replaced none answers"
        if pod.owner["spec"].get("progressDeadlineSeconds", 600) <= startup_seconds(pod):
            yield f"{pod.name}: the rollout gives up before the startup probe does"


def startup_seconds(pod):
    probes = [container.get("startupProbe", {}) for container in pod.containers]
    return max(each.get("failureThreshold", 0) * each.get("periodSeconds", 10) for each in probes)


def startup_budget(docs, _facts):
    for pod in server_pods(docs):
        if startup_seconds(pod) < 300:
            yield f"{pod.name}: {startup_seconds(pod)} s to load models; at least 300 are expected"


def budget_is_sane(docs, _facts):
    budgets = kinds(docs, "PodDisruptionBudget")
    for pod in server_pods(docs):
        mine = [b for b in budgets if selected(pod.labels, b["spec"]["selector"]["matchLabels"])]
        if len(mine) != 1:
            yield f"{pod.name}: {len(mine)} disruption budgets; 1 is expected"
        for budget in mine:
            least, spec = least_replicas(docs, pod.owner), budget["spec"]
            allowed = spec.get("maxUnavailable", least - spec.get("minAvailable", 0))
            if not 1 <= allowed < least:
                yield f"{name_of(budget)}: lets {allowed} of {least} replicas go; 1 to {least - 1} expected"


def autoscaling(docs, _facts):
    scalers = kinds(docs, "HorizontalPodAutoscaler", "ScaledObject")
    if len(scalers) > 1:
        yield f"{len(scalers)} autoscalers pull at the same replicas"
    for scaler in scalers:
        target = scaler["spec"]["scaleTargetRef"]
        found = [d for d in kinds(docs, target["kind"]) if d["metadata"]["name"] == target["name"]]
        if not found:
            yield f"{name_of(scaler)}: scales {target['name']}, which is not there"
        for doc in found:
            if "replicas" in doc["spec"]:
                yield f"{name_of(doc)}: replicas is set, and every apply undoes the autoscaler"


RULES = [grace_is_enough, update_fits, startup_budget, budget_is_sane, autoscaling]
