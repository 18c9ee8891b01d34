"""The published schemas of Kubernetes, strictly, and the models of custom resources."""

import functools

import kubernetes_validate
from cloudcoil.models.keda import v1alpha1 as keda
from cloudcoil.models.prometheus_operator import v1 as monitoring
from kubernetes_validate import utils
from pydantic import ValidationError

from cluster import name_of

VERSIONS = ["1.31", "1.32", "1.33", "1.34", "1.35", "1.36", "1.37"]
CUSTOM = {"ScaledObject": keda.ScaledObject, "ServiceMonitor": monitoring.ServiceMonitor,
          "PrometheusRule": monitoring.PrometheusRule}
# No model of it is published as a package; rules.wiring.routes_exist looks at what matters.
UNMODELLED = {"GRPCRoute"}

# A schema is read once and not once a document.
utils.schema_contents = functools.lru_cache(maxsize=None)(utils.schema_contents)


def schema_problems(docs, version):
    for doc in docs:
        if doc["kind"] in CUSTOM or doc["kind"] in UNMODELLED:
            continue
        try:
            used = kubernetes_validate.validate(doc, version, strict=True)
            if used != version:
                yield f"{name_of(doc)}: checked against {used}, not {version}"
        except kubernetes_validate.ValidationError as error:
            path = ".".join(str(step) for step in error.path)
            yield f"{name_of(doc)}, {version}: {path}: {error.message}"
        except kubernetes_validate.SchemaNotFoundError as error:
            yield f"{name_of(doc)}: {error.message}"


def custom_problems(docs):
    for doc in docs:
        model = CUSTOM.get(doc["kind"])
        if model is None:
            continue
        try:
            parsed = model.model_validate(doc)
        except ValidationError as error:
            yield from (f"{name_of(doc)}: {'.'.join(map(str, each['loc']))}: {each['msg']}"
                        for each in error.errors())
            continue
        kept = parsed.model_dump(by_alias=True, exclude_unset=True, mode="json")
        yield from (f"{name_of(doc)}: {path} is no field" for path in lost(doc, kept))


def lost(given, kept, path=""):
    """Fields that the model dropped: the models ignore what they do not know."""
    if isinstance(given, dict) and isinstance(kept, dict):
        for key, value in given.items():
            if key not in kept:
                yield f"{path}.{key}".lstrip(".")
            else:
                yield from lost(value, kept[key], f"{path}.{key}")
    if isinstance(given, list) and isinstance(kept, list):
        for index, (left, right) in enumerate(zip(given, kept)):
            yield from lost(left, right, f"{path}[{index}]")
