"""Broken variants: each rule must object to what it is there for."""

from dataclasses import dataclass
from typing import Callable

from cluster import kinds, server_pods


@dataclass
class Broken:
    """A change of a rendered target that a rule must find."""

    what: str
    target: str
    rule: str
    change: Callable


def the(docs, kind, name=None):
    return next(doc for doc in kinds(docs, kind) if name in (None, doc["metadata"]["name"]))


def server(docs):
    return server_pods(docs)[0].container("server")


def pod_spec(docs):
    return server_pods(docs)[0].spec


def job(docs):
    return the(docs, "Job")["spec"]


def trainer(docs):
    return job(docs)["template"]["spec"]["containers"][0]


def update(docs):
    return the(docs, "Deployment")["spec"]["strategy"]["rollingUpdate"]


def variable(name, value):
    """Sets an environment variable of the server."""
    def change(docs):
        entries = server(docs).setdefault("env", [])
        entries[:] = [entry for entry in entries if entry["name"] != name]
        entries.append({"name": name, "value": value})
    return change


def in_toml(old, new):
    def change(docs):
        data = next(doc for doc in kinds(docs, "ConfigMap") if "server.toml" in doc["data"])["data"]
        assert old in data["server.toml"], old
        data["server.toml"] = data["server.toml"].replace(old, new)
    return change


def put(where, key, value):
    """Sets a key of what `where` finds."""
    def change(docs):
        where(docs)[key] = value
    return change


def drop(where, key):
    def change(docs):
        del where(docs)[key]
    return change


def without(kind):
    def change(docs):
        docs[:] = [doc for doc in docs if doc["kind"] != kind]
    return change


def spec_of(kind, *path):
    """The object at a path below the spec of the first document of a kind."""
    def find(docs):
        node = the(docs, kind)["spec"]
        for step in path:
            node = node[step]
        return node
    return find


def limits(docs):
    return server(docs)["resources"]["limits"]


def trigger(docs):
    return the(docs, "ScaledObject")["spec"]["triggers"][0]["metadata"]


def alert(docs):
    """A rule of the alerts."""
    return the(docs, "PrometheusRule")["spec"]["groups"][0]["rules"][0]


def in_dashboard(old, new):
    def change(docs):
        data = the(docs, "ConfigMap", "protoguard-dashboard")["data"]
        assert old in data["protoguard.json"], old
        data["protoguard.json"] = data["protoguard.json"].replace(old, new)
    return change


def role_rule(docs):
    return the(docs, "Role")["rules"][0]


def cron_pod(docs):
    return the(docs, "CronJob")["spec"]["jobTemplate"]["spec"]["template"]["spec"]


def server_volume(name):
    return lambda docs: server_pods(docs)[0].volumes[name]


def script(docs):
    return next(doc for doc in kinds(docs, "ConfigMap") if "recalibrate.sh" in doc["data"])["data"]


def env_prefix(key):
    return "PROTOGUARD_SERVER__" + key


BROKEN = [
    Broken("a limit in no unit", "cpu", "quantities", put(limits, "memory", "4GB")),
    Broken("a request above its limit", "cpu", "quantities",
           put(lambda d: server(d)["resources"]["requests"], "cpu", "9")),
    Broken("no memory limit", "cpu", "quantities", drop(limits, "memory")),
    Broken("half a GPU's request", "gpu", "quantities", put(limits, "nvidia.com/gpu", 2)),
    Broken("more threads than cores", "cpu", "threads_fit",
           in_toml("threads_per_worker = 4", "threads_per_worker = 8")),
    Broken("cores that nobody uses", "cpu", "threads_fit", put(limits, "cpu", "12")),
    Broken("a queue larger than memory", "cpu", "memory_fits",
           variable(env_prefix("MAX_QUEUE_BYTES"), "4294967296")),
    Broken("messages larger than memory", "cpu", "memory_fits",
           variable(env_prefix("MAX_RECEIVING_BYTES"), "4294967296")),
    Broken("the CPU image on a GPU node", "gpu", "devices_match",
           put(server, "image", "protoguard/server-cpu:0.1.0")),
    Broken("a GPU that is not used", "gpu", "devices_match", variable(env_prefix("DEVICES"), "cpu")),
    Broken("a GPU without toleration", "gpu", "devices_match", drop(pod_spec, "tolerations")),
    Broken("a root file system that can be written", "cpu", "restricted",
           put(lambda d: server(d)["securityContext"], "readOnlyRootFilesystem", False)),
    Broken("a capability", "cpu", "restricted",
           put(lambda d: server(d)["securityContext"], "capabilities", {"add": ["SYS_ADMIN"]})),
    Broken("root", "train", "restricted",
           put(lambda d: job(d)["template"]["spec"]["securityContext"], "runAsUser", 0)),
    Broken("a folder of the node", "cpu", "restricted",
           put(server_volume("tmp"), "hostPath", {"path": "/"})),
    Broken("a namespace that lets everything in", "cpu", "restricted",
           put(lambda d: the(d, "Namespace")["metadata"]["labels"],
               "pod-security.kubernetes.io/enforce", "privileged")),
    Broken("no /tmp", "cpu", "writable_places",
           lambda d: server(d)["volumeMounts"].pop(2)),
    Broken("a mount of no volume", "cpu", "mounts_exist",
           lambda d: server(d)["volumeMounts"].append({"name": "lost", "mountPath": "/lost"})),
    Broken("a volume of two sources", "models-image", "mounts_exist",
           put(server_volume("models"), "emptyDir", {})),
    Broken("the newest image, whichever", "cpu", "images_pinned",
           put(server, "image", "protoguard/server-cpu:latest")),
    Broken("GPUs past the device plugin", "gpu", "images_pinned",
           variable("NVIDIA_VISIBLE_DEVICES", "all")),
    Broken("a Service of other pods", "cpu", "selectors_match",
           put(spec_of("Service", "selector"), "app.kubernetes.io/name", "protogard")),
    Broken("a Service of all pods", "cpu", "selectors_match",
           put(spec_of("Service"), "selector", {})),
    Broken("a template that its Deployment does not know", "cpu", "selectors_match",
           put(lambda d: server_pods(d)[0].labels, "app.kubernetes.io/component", "web")),
    Broken("a policy for nobody", "networkpolicy", "selectors_match",
           lambda d: the(d, "NetworkPolicy", "protoguard-server")["spec"]["podSelector"]
           ["matchLabels"].update({"app.kubernetes.io/component": "web"})),
    Broken("a port that no container has", "cpu", "ports_exist",
           put(spec_of("Service", "ports", 0), "targetPort", "http")),
    Broken("a policy for a port that no container has", "networkpolicy", "ports_exist",
           lambda d: the(d, "NetworkPolicy", "protoguard-server")["spec"]["ingress"][0]["ports"][0]
           .update({"port": "http"})),
    Broken("a probe of another port", "cpu", "probes_exist",
           put(lambda d: server(d)["livenessProbe"]["grpc"], "port", 9090)),
    Broken("a probe of an unknown health name", "cpu", "probes_exist",
           put(lambda d: server(d)["readinessProbe"]["grpc"], "service", "ready")),
    Broken("a gRPC probe of a TLS port", "mtls", "probes_exist",
           put(server, "startupProbe", {"grpc": {"port": 50051, "service": "readiness"}})),
    Broken("no liveness probe", "cpu", "probes_exist", drop(server, "livenessProbe")),
    Broken("a lost ConfigMap", "cpu", "references_exist", without("ConfigMap")),
    Broken("a lost claim", "cpu", "references_exist", without("PersistentVolumeClaim")),
    Broken("a ConfigMap that rolls nothing", "cpu", "references_exist",
           lambda d: (the(d, "ConfigMap")["metadata"].update({"name": "config"}),
                      server_volume("config")(d)["configMap"].update({"name": "config"}))),
    Broken("a route to another port", "grpcroute", "routes_exist",
           put(spec_of("GRPCRoute", "rules", 0, "backendRefs", 0), "port", 80)),
    Broken("a route to an unknown method", "grpcroute", "routes_exist",
           put(spec_of("GRPCRoute", "rules", 0, "matches", 1, "method"), "method", "Drop")),
    Broken("h2c over TLS", "mtls", "wire_protocol",
           put(spec_of("Service", "ports", 0), "appProtocol", "kubernetes.io/h2c")),
    Broken("no headless Service", "cpu", "wire_protocol",
           lambda d: the(d, "Service", "protoguard-server-headless")["spec"].pop("clusterIP")),
    Broken("a drain longer than the grace", "cpu", "grace_is_enough",
           in_toml("drain_timeout_ms = 25000", "drain_timeout_ms = 60000")),
    Broken("too short a grace", "gpu", "grace_is_enough",
           put(pod_spec, "terminationGracePeriodSeconds", 30)),
    Broken("no preStop", "cpu", "grace_is_enough", drop(server, "lifecycle")),
    Broken("a surge that needs a spare GPU", "gpu", "update_fits", put(update, "maxSurge", 1)),
    Broken("an update that takes replicas away", "cpu", "update_fits",
           put(update, "maxUnavailable", 1)),
    Broken("one replica", "gpu", "update_fits", put(spec_of("Deployment"), "replicas", 1)),
    Broken("an autoscaler that keeps one", "hpa", "update_fits",
           put(spec_of("HorizontalPodAutoscaler"), "minReplicas", 1)),
    Broken("no time to load a model", "cpu", "startup_budget",
           put(lambda d: server(d)["startupProbe"], "failureThreshold", 10)),
    Broken("a budget that blocks every drain", "cpu", "budget_is_sane",
           put(spec_of("PodDisruptionBudget"), "maxUnavailable", 0)),
    Broken("a budget that lets all go", "cpu", "budget_is_sane",
           put(spec_of("PodDisruptionBudget"), "maxUnavailable", 2)),
    Broken("no budget", "cpu", "budget_is_sane", without("PodDisruptionBudget")),
    Broken("replicas beside an autoscaler", "hpa", "autoscaling",
           put(spec_of("Deployment"), "replicas", 2)),
    Broken("an autoscaler of nothing", "keda", "autoscaling",
           put(spec_of("ScaledObject", "scaleTargetRef"), "name", "web")),
    Broken("a misspelt key in the file", "cpu", "keys_exist", in_toml("max_batch_size", "batchsize")),
    Broken("a misspelt key in the environment", "gpu", "keys_exist",
           variable(env_prefix("DEVICE"), "cuda:0")),
    Broken("a server that listens for itself", "cpu", "listens",
           variable(env_prefix("LISTEN"), "127.0.0.1:50051")),
    Broken("metrics on another port", "cpu", "listens",
           variable(env_prefix("METRICS_LISTEN"), "0.0.0.0:9100")),
    Broken("models elsewhere", "cpu", "models_are_mounted",
           in_toml('models_folder = "/models"', 'models_folder = "/data"')),
    Broken("a certificate elsewhere", "mtls", "files_are_mounted",
           variable(env_prefix("TLS_KEY"), "/secrets/tls.key")),
    Broken("an object in another namespace", "hpa", "lives_in_one_namespace",
           lambda d: the(d, "HorizontalPodAutoscaler")["metadata"].update({"namespace": "default"})),
    Broken("rights on every deployment", "recalibrate", "rights_are_minimal",
           drop(role_rule, "resourceNames")),
    Broken("a right to delete", "recalibrate", "rights_are_minimal",
           lambda d: role_rule(d)["verbs"].append("delete")),
    Broken("a wildcard", "recalibrate", "rights_are_minimal", put(role_rule, "resources", ["*"])),
    Broken("rights on what is not there", "recalibrate", "rights_are_minimal",
           put(role_rule, "resourceNames", ["protoguard-server-4t4chkk8mg"])),
    Broken("a token for every container", "recalibrate", "tokens_where_needed",
           put(cron_pod, "automountServiceAccountToken", True)),
    Broken("a token for the container that reads video", "recalibrate", "tokens_where_needed",
           lambda d: cron_pod(d)["initContainers"][0]["volumeMounts"].append(
               {"name": "token", "mountPath": "/token"})),
    Broken("a metric that nobody exports", "keda", "metrics_exist",
           put(trigger, "query", "sum(protoguard_queue_length)")),
    Broken("a histogram without its suffix", "keda", "metrics_exist",
           put(trigger, "query", "avg(protoguard_queue_duration_seconds)")),
    Broken("a label that the metric lacks", "keda", "metrics_exist",
           put(trigger, "query", 'sum(protoguard_queue_clips{scene="hall"})')),
    Broken("an alert on a metric that nobody exports", "monitoring", "metrics_exist",
           put(alert, "expr", "rate(protoguard_batches_total[5m]) > 0")),
    Broken("a panel for a metric that nobody exports", "monitoring", "metrics_exist",
           in_dashboard("protoguard_clips_expired_total", "protoguard_clips_late_total")),
    Broken("a metric that no panel shows", "monitoring", "metrics_are_charted",
           in_dashboard("protoguard_clips_expired_total", "protoguard_clips_total")),
    Broken("a dashboard without its label", "monitoring", "metrics_are_charted",
           drop(lambda d: the(d, "ConfigMap", "protoguard-dashboard")["metadata"]["labels"],
                "grafana_dashboard")),
    Broken("an eviction that counts", "train", "survives_eviction",
           lambda d: job(d)["podFailurePolicy"]["rules"].pop(0)),
    Broken("a restart in place", "grid", "survives_eviction",
           put(lambda d: job(d)["template"]["spec"], "restartPolicy", "OnFailure")),
    Broken("a checkpoint in the pod", "train", "writes_to_a_volume",
           lambda d: trainer(d)["args"].append("--out=/tmp/camera.safetensors")),
    Broken("a limit an index without indices", "grid", "indexed",
           put(job, "completionMode", "NonIndexed")),
    Broken("a grid of other cells", "grid", "indexed", put(job, "completions", 8)),
    Broken("a misspelt flag", "train", "flags_exist",
           lambda d: trainer(d)["args"].append("--resum")),
    Broken("a misspelt flag in a script", "recalibrate", "flags_exist",
           lambda d: script(d).update({"recalibrate.sh": "protoguard-trainer calibrate --scenes x"})),
    Broken("a Job that does not wait for its queue", "train-gpu", "queued_jobs_wait",
           put(job, "suspend", False)),
]
