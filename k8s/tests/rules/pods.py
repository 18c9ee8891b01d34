"""Pod security at the level `restricted`, and what a read-only root needs."""

from cluster import kinds, pods


def restricted(docs, _facts):
    for pod in pods(docs):
        security = pod.spec.get("securityContext", {})
        if security.get("seccompProfile", {}).get("type") != "RuntimeDefault":
            yield f"{pod.name}: seccompProfile is not RuntimeDefault"
        if not security.get("runAsNonRoot") or not security.get("runAsUser"):
            yield f"{pod.name}: runs as root, or as the image says"
        for forbidden in ("hostNetwork", "hostPID", "hostIPC"):
            if pod.spec.get(forbidden):
                yield f"{pod.name}: {forbidden}"
        for volume in pod.volumes.values():
            if "hostPath" in volume:
                yield f"{pod.name}: volume {volume['name']} is a hostPath"
        for container in pod.containers:
            yield from container_restricted(pod, container)
    for namespace in kinds(docs, "Namespace"):
        level = namespace["metadata"]["labels"].get("pod-security.kubernetes.io/enforce")
        if level != "restricted":
            yield f"Namespace: pod security is {level}; restricted is expected"


def container_restricted(pod, container):
    where = f"{pod.name}, {container['name']}"
    security = container.get("securityContext", {})
    if security.get("allowPrivilegeEscalation") is not False or security.get("privileged"):
        yield f"{where}: may gain privileges"
    if security.get("capabilities") != {"drop": ["ALL"]}:
        yield f"{where}: capabilities are {security.get('capabilities')}; drop ALL is expected"
    if not security.get("readOnlyRootFilesystem"):
        yield f"{where}: its root can be written"
    if security.get("runAsNonRoot") is False or security.get("runAsUser") == 0:
        yield f"{where}: runs as root"


def writable_places(docs, _facts):
    """Under a read-only root, /tmp is a volume wherever something may need it."""
    for pod in pods(docs):
        for container in pod.containers:
            mounts = {mount["mountPath"] for mount in container.get("volumeMounts", [])}
            if "/tmp" not in mounts:
                yield f"{pod.name}, {container['name']}: no volume at /tmp"
            if container["name"] in ("server", "trainer") and "/dev/shm" not in mounts:
                yield f"{pod.name}, {container['name']}: no volume at /dev/shm"


def mounts_exist(docs, _facts):
    for pod in pods(docs):
        used = set()
        for container in pod.containers:
            paths = [mount["mountPath"] for mount in container.get("volumeMounts", [])]
            for path in {path for path in paths if paths.count(path) > 1}:
                yield f"{pod.name}, {container['name']}: two volumes at {path}"
            for mount in container.get("volumeMounts", []):
                used.add(mount["name"])
                if mount["name"] not in pod.volumes:
                    yield f"{pod.name}, {container['name']}: mounts {mount['name']}, no such volume"
        for name in set(pod.volumes) - used:
            yield f"{pod.name}: volume {name} is mounted by no container"
        for volume in pod.volumes.values():
            sources = [key for key in volume if key != "name"]
            if len(sources) != 1:
                yield f"{pod.name}: volume {volume['name']} has the sources {sources}"


def images_pinned(docs, _facts):
    for pod in pods(docs):
        for container in pod.containers:
            name, _, tag = container["image"].rpartition(":")
            if not name or tag in ("", "latest"):
                yield f"{pod.name}, {container['name']}: image {container['image']} has no fixed tag"
            for entry in container.get("env", []):
                if entry["name"].startswith("NVIDIA_"):
                    yield f"{pod.name}: {entry['name']} is set; the device plugin sets it"


RULES = [restricted, writable_places, mounts_exist, images_pinned]
