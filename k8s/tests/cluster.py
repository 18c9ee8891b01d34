"""Rendered manifests as the rules look at them: documents, pods and their containers."""

from dataclasses import dataclass

WORKLOADS = ("Deployment", "Job", "CronJob", "StatefulSet", "DaemonSet")


def name_of(doc):
    return "%s/%s" % (doc["kind"], doc["metadata"]["name"])


def kinds(docs, *wanted):
    return [doc for doc in docs if doc["kind"] in wanted]


@dataclass
class Pod:
    """A pod template and the workload that makes pods of it."""

    owner: dict
    template: dict

    @property
    def name(self):
        return name_of(self.owner)

    @property
    def labels(self):
        return self.template["metadata"].get("labels", {})

    @property
    def spec(self):
        return self.template["spec"]

    @property
    def containers(self):
        return self.spec.get("initContainers", []) + self.spec["containers"]

    @property
    def volumes(self):
        return {volume["name"]: volume for volume in self.spec.get("volumes", [])}

    def container(self, name):
        return next((each for each in self.containers if each["name"] == name), None)


def pods(docs):
    for doc in kinds(docs, *WORKLOADS):
        spec = doc["spec"]
        if doc["kind"] == "CronJob":
            spec = spec["jobTemplate"]["spec"]
        yield Pod(doc, spec["template"])


def server_pods(docs):
    return [pod for pod in pods(docs) if pod.container("server")]


def selected(labels, selector):
    """Whether `labels` satisfy the matchLabels of `selector`."""
    return all(labels.get(key) == value for key, value in (selector or {}).items())


def container_ports(container):
    return {port["name"]: port["containerPort"] for port in container.get("ports", [])}


def environment(container):
    return {entry["name"]: entry.get("value") for entry in container.get("env", [])}


UNITS = {"": 1, "m": 1e-3, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12,
         "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40}


def quantity(text):
    """A Kubernetes quantity as a number; ValueError where it is none."""
    text = str(text)
    digits = text.rstrip("kKmMGTi")
    unit = text[len(digits):]
    if unit not in UNITS:
        raise ValueError(text)
    return float(digits) * UNITS[unit]
