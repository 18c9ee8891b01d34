"""The configuration that a server pod ends up with, and whether the server knows it."""

import tomllib

from cluster import container_ports, environment, kinds, name_of, server_pods

PREFIX = "PROTOGUARD_SERVER__"


def config_file(docs, pod):
    """server.toml as the pod sees it."""
    name = pod.volumes["config"]["configMap"]["name"]
    found = [doc for doc in kinds(docs, "ConfigMap") if doc["metadata"]["name"] == name]
    return tomllib.loads(found[0]["data"]["server.toml"]) if found else {}


def overrides(pod):
    return {key[len(PREFIX):].lower(): value
            for key, value in environment(pod.container("server")).items() if key.startswith(PREFIX)}


def effective(docs, pod):
    """File and environment together; lists of the environment are separated by commas."""
    config = {**config_file(docs, pod), **overrides(pod)}
    if isinstance(config.get("devices"), str):
        config["devices"] = config["devices"].split(",")
    return config


def keys_exist(docs, facts):
    for pod in server_pods(docs):
        for key in {**config_file(docs, pod), **overrides(pod)}:
            if key not in facts.server_keys:
                yield f"{pod.name}: the server has no configuration key `{key}`"


def listens(docs, _facts):
    """Container ports are those that the server listens on, on all addresses."""
    for pod in server_pods(docs):
        config, ports = effective(docs, pod), container_ports(pod.container("server"))
        for key, port in (("listen", "grpc"), ("metrics_listen", "metrics")):
            wanted = "0.0.0.0:%s" % ports.get(port)
            if config.get(key) != wanted:
                yield f"{pod.name}: {key} is {config.get(key)}; {wanted} is expected"


def models_are_mounted(docs, _facts):
    for pod in server_pods(docs):
        folder = effective(docs, pod).get("models_folder")
        mounts = {m["mountPath"]: m for m in pod.container("server")["volumeMounts"]}
        if folder not in mounts or not mounts[folder].get("readOnly"):
            yield f"{pod.name}: models_folder {folder} is no read-only mount"


def files_are_mounted(docs, _facts):
    """Every file that the configuration names lies under a mount."""
    for pod in server_pods(docs):
        mounts = [m["mountPath"] + "/" for m in pod.container("server")["volumeMounts"]]
        for key, value in overrides(pod).items():
            if str(value).startswith("/") and not any(value.startswith(m) for m in mounts):
                yield f"{pod.name}: {key} is {value}, where nothing is mounted"


def lives_in_one_namespace(docs, _facts):
    namespaces = {doc["metadata"].get("namespace") for doc in docs if doc["kind"] != "Namespace"}
    if len(namespaces) > 1:
        strays = [name_of(doc) for doc in docs if doc["kind"] != "Namespace"
                  and doc["metadata"].get("namespace") != "protoguard"]
        yield f"outside of the namespace protoguard: {', '.join(strays)}"


RULES = [keys_exist, listens, models_are_mounted, files_are_mounted, lives_in_one_namespace]
