"""Quantities: that they are some, fit each other, and fit what the server is told to use."""

from cluster import environment, kinds, name_of, pods, quantity, server_pods
from rules.server import effective

# Beside queues: the model, libtorch's own memory, and buffers of connections.
SERVER_MEMORY = 2**30


def quantities(docs, _facts):
    for pod in pods(docs):
        for container in pod.containers:
            yield from container_quantities(pod, container)
        for volume in pod.volumes.values():
            limit = volume.get("emptyDir", {}).get("sizeLimit")
            if "emptyDir" in volume and not parses(limit):
                yield f"{pod.name}: volume {volume['name']} has sizeLimit {limit!r}"
    for claim in kinds(docs, "PersistentVolumeClaim"):
        size = claim["spec"]["resources"]["requests"]["storage"]
        if not parses(size):
            yield f"{name_of(claim)}: storage is {size!r}"


def container_quantities(pod, container):
    where = f"{pod.name}, {container['name']}"
    resources = container.get("resources", {})
    requests, limits = resources.get("requests", {}), resources.get("limits", {})
    for needed in ("cpu", "memory"):
        if needed not in requests or needed not in limits:
            yield f"{where}: no request or no limit for {needed}"
    for name, value in list(requests.items()) + list(limits.items()):
        if not parses(value):
            yield f"{where}: {name} is {value!r}, which is no quantity"
    for name in set(requests) & set(limits):
        if not (parses(requests[name]) and parses(limits[name])):
            continue
        request, limit = quantity(requests[name]), quantity(limits[name])
        if request > limit:
            yield f"{where}: requests {requests[name]} of {name}, more than its limit {limits[name]}"
        if name.startswith("nvidia.com/") and (request != limit or request != 1):
            yield f"{where}: {name} is {requests[name]}; one whole device is expected"


def parses(value):
    try:
        return quantity(value) > 0
    except (TypeError, ValueError):
        return False


def threads_fit(docs, _facts):
    """Workers × threads is what the container may use, and one core is left to the rest."""
    for pod in server_pods(docs):
        container = pod.container("server")
        config = effective(docs, pod)
        cpu = quantity(container["resources"]["limits"]["cpu"])
        used = (len(config["devices"]) * int(config["workers_per_device"])
                * int(config["threads_per_worker"]))
        if used == 0:
            yield f"{pod.name}: threads_per_worker is 0, which the cpu limit cannot be checked with"
        on_cpu = config["devices"] == ["cpu"]
        if used + 1 > cpu or (on_cpu and used + 1 < cpu):
            yield f"{pod.name}: {used} compute threads and a cpu limit of {cpu:g}; limit = threads + 1"


def memory_fits(docs, _facts):
    for pod in server_pods(docs):
        container = pod.container("server")
        limit = quantity(container["resources"]["limits"]["memory"])
        in_memory = sum(quantity(volume["emptyDir"]["sizeLimit"]) for volume in pod.volumes.values()
                        if volume.get("emptyDir", {}).get("medium") == "Memory")
        config = effective(docs, pod)
        requests = int(config["max_queue_bytes"]) + int(config["max_receiving_bytes"])
        needed = requests + in_memory + SERVER_MEMORY
        if limit < needed:
            yield f"{pod.name}: memory limit {limit:g}, and requests, shm and model need {needed:g}"


def devices_match(docs, _facts):
    """A CUDA device, the CUDA image and a GPU go together."""
    for pod in pods(docs):
        for container in pod.containers:
            limits = container.get("resources", {}).get("limits", {})
            gpu = any(name.startswith("nvidia.com/") for name in limits)
            cuda_image = "-cuda:" in container["image"]
            devices = environment(container)
            asked = any("cuda" in (value or "") for key, value in devices.items()
                        if key.endswith(("__DEVICES", "__TRAINING__DEVICE")))
            if not gpu == cuda_image == asked:
                yield (f"{pod.name}, {container['name']}: GPU {gpu}, CUDA image {cuda_image}, "
                       f"device cuda {asked}; all or none is expected")
            tolerated = any(each.get("key") == "nvidia.com/gpu"
                            for each in pod.spec.get("tolerations", []))
            pinned = "nodeAffinity" in pod.spec.get("affinity", {})
            if gpu and not (tolerated and pinned):
                yield f"{pod.name}: asks for a GPU without toleration and node affinity"


RULES = [quantities, threads_fit, memory_fits, devices_match]
