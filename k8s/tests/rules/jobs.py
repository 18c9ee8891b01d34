"""Jobs that survive evictions, and give up where another try is hopeless."""

import math
import re
import tomllib

from cluster import kinds, name_of, pods

USAGE_EXIT_CODE = 2


def survives_eviction(docs, _facts):
    for pod in pods(docs):
        spec = pod.owner["spec"]
        if pod.owner["kind"] != "Job":
            continue
        rules = spec.get("podFailurePolicy", {}).get("rules", [])
        ignored = any(rule["action"] == "Ignore" and rule.get("onPodConditions") for rule in rules)
        if not ignored:
            yield f"{pod.name}: an eviction counts as a failure"
        codes = [rule["onExitCodes"] for rule in rules if "onExitCodes" in rule]
        if not any(USAGE_EXIT_CODE in code["values"] for code in codes):
            yield f"{pod.name}: wrong usage (exit code {USAGE_EXIT_CODE}) is tried again"
        for code in codes:
            if not pod.container(code.get("containerName", "trainer")):
                yield f"{pod.name}: exit codes of {code['containerName']}, which is no container"
        if pod.spec["restartPolicy"] != "Never":
            yield f"{pod.name}: restartPolicy {pod.spec['restartPolicy']} bypasses podFailurePolicy"
        if pod.spec.get("terminationGracePeriodSeconds", 30) < 60:
            yield f"{pod.name}: less than 60 s to save a checkpoint"


def writes_to_a_volume(docs, _facts):
    """What a run leaves lies on a claim, or the next pod has nothing to resume from."""
    for pod in pods(docs):
        for container in pod.containers:
            out = [arg.split("=", 1)[1] for arg in container.get("args", []) if arg.startswith("--out=")]
            claims = {m["mountPath"] for m in container.get("volumeMounts", [])
                      if "persistentVolumeClaim" in pod.volumes.get(m["name"], {})
                      and not m.get("readOnly")}
            for path in out:
                if not any(path.startswith(claim + "/") for claim in claims):
                    yield f"{pod.name}: writes {path}, which is on no volume that stays"


def indexed(docs, _facts):
    for job in kinds(docs, "Job"):
        spec = job["spec"]
        is_indexed = spec.get("completionMode") == "Indexed"
        if ("backoffLimitPerIndex" in spec) != is_indexed:
            yield f"{name_of(job)}: backoffLimitPerIndex and Indexed go together"
        if is_indexed and not spec["parallelism"] <= spec["completions"]:
            yield f"{name_of(job)}: parallelism above completions"
        if is_indexed and spec.get("maxFailedIndexes", 0) > spec["completions"]:
            yield f"{name_of(job)}: maxFailedIndexes above completions"
        for grid in (doc["data"]["grid.toml"] for doc in kinds(docs, "ConfigMap")
                     if is_indexed and "grid.toml" in doc["data"]):
            if cells(grid) != spec["completions"]:
                yield f"{name_of(job)}: {cells(grid)} cells and {spec['completions']} completions"


def cells(text):
    """Rows × values × seeds of a grid."""
    grid = tomllib.loads(text)
    values = math.prod(len(axis) for axis in axes(grid.get("grid", {})))
    return max(1, len(grid.get("row", []))) * values * len(grid.get("seeds", [0]))


def axes(table):
    for value in table.values():
        yield from axes(value) if isinstance(value, dict) else [value]


def flags_exist(docs, facts):
    for where, command, flags in trainer_calls(docs):
        for flag in flags:
            if not facts.trainer_has(command, flag):
                yield f"{where}: the trainer has no `{command} {flag}`"


def trainer_calls(docs):
    """Every call of the trainer, in arguments and in scripts: where, its command and flags."""
    for pod in pods(docs):
        for container in pod.containers:
            command, *arguments = container.get("args") or [""]
            if "/trainer-" in container["image"] and arguments:
                yield pod.name, command, [argument.split("=", 1)[0] for argument in arguments]
    for config in kinds(docs, "ConfigMap"):
        for key, text in config["data"].items():
            whole = text.replace("\\\n", " ")
            for command, rest in re.findall(r"^\s*protoguard-trainer (\w+)(.*)", whole, re.M):
                yield f"{name_of(config)}, {key}", command, re.findall(r"--[a-z-]+", rest)


def queued_jobs_wait(docs, _facts):
    for job in kinds(docs, "Job"):
        queue = job["metadata"]["labels"].get("kueue.x-k8s.io/queue-name")
        if queue and not job["spec"].get("suspend"):
            yield f"{name_of(job)}: has a queue and starts without waiting for it"


RULES = [survives_eviction, writes_to_a_volume, indexed, flags_exist, queued_jobs_wait]
