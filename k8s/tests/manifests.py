"""Every check of the manifests that needs no cluster.

    python manifests.py CHECKOV [--source FOLDER]

CHECKOV is the program; FOLDER is the source tree that keys, flags and methods are read from (this
one where absent). Ends with one line `manifests: N passed, N failed, N skipped`.
"""

import argparse
import copy
import json
import pathlib
import sys
import tempfile

import lint
import render
import schemas
from broken import BROKEN
from facts import Facts
from rules import RULES

ROOT = render.K8S.parent


class Run:
    """Counts checks and prints those that did not pass."""

    def __init__(self):
        self.passed = self.failed = self.skipped = 0

    def check(self, what, problems):
        problems = list(problems)
        if not problems:
            self.passed += 1
            return
        self.failed += 1
        print(f"FAILED {what}")
        for problem in problems:
            print(f"    {problem}")

    def skip(self, what, why):
        self.skipped += 1
        print(f"skipped: {what}: {why}")


def render_all(run):
    rendered = {}
    for target in render.TARGETS:
        missing = render.missing_files(target)
        if missing:
            run.skip(f"render {target}", f"k8s/{render.MONITORING} has no {', '.join(missing)}")
            continue
        try:
            rendered[target] = render.render(target)
            run.check(f"render {target}", [])
        except render.RenderError as error:
            run.check(f"render {target}", [str(error)])
    return rendered


def distinct(rendered):
    """Every document once: targets share most of theirs."""
    seen = {json.dumps(doc, sort_keys=True): doc for docs in rendered.values() for doc in docs}
    return list(seen.values())


def check_schemas(run, rendered):
    docs = distinct(rendered)
    for version in schemas.VERSIONS:
        run.check(f"schemas of Kubernetes {version}", schemas.schema_problems(docs, version))
    run.check("models of custom resources", schemas.custom_problems(docs))


def check_rules(run, rendered, facts):
    for target, docs in rendered.items():
        for name, rule in RULES.items():
            run.check(f"{target}: {name}", rule(docs, facts))


def check_broken(run, rendered, facts):
    """A rule that misses its own broken variant is no rule."""
    for case in BROKEN:
        clean = rendered.get(case.target)
        if clean is None:
            run.skip(f"{case.rule} finds {case.what}", f"{case.target} was not rendered")
            continue
        changed = copy.deepcopy(clean)
        case.change(changed)
        rule = RULES[case.rule]
        found = set(rule(changed, facts)) - set(rule(clean, facts))
        run.check(f"{case.rule} finds {case.what}", [] if found else ["it found nothing"])
    untested = set(RULES) - {case.rule for case in BROKEN}
    run.check("every rule has a broken variant", sorted(untested))


def check_broken_tools(run, rendered, checkov):
    """The tools of others are shown to object, too."""
    misspelt = copy.deepcopy(rendered["keda"])
    for doc in misspelt:
        if doc["kind"] == "Deployment":
            doc["spec"]["template"]["spec"]["terminationGracePeriod"] = 45
        if doc["kind"] == "ScaledObject":
            doc["spec"]["minReplicas"] = 2
        if doc["kind"] == "Service":
            doc["spec"]["ports"][0]["port"] = "grpc"
    for version in schemas.VERSIONS:
        found = " ".join(schemas.schema_problems(misspelt, version))
        said = "terminationGracePeriod" in found and "ports.0.port" in found
        run.check(f"schemas of {version} find misspelt fields", [] if said else [found or "nothing"])
    found = " ".join(schemas.custom_problems(misspelt))
    run.check("models find a misspelt field", [] if "minReplicas" in found else ["nothing"])
    open_doors = copy.deepcopy(rendered["cpu"])
    for doc in open_doors:
        if doc["kind"] == "Deployment":
            doc["spec"]["template"]["spec"]["containers"][0]["securityContext"]["privileged"] = True
    found = " ".join(lint.checkov_problems(open_doors, checkov))
    run.check("checkov finds a privileged container", [] if "CKV_K8S_16" in found else [found])
    with tempfile.TemporaryDirectory() as folder:
        dockerfile = pathlib.Path(folder, "Dockerfile")
        dockerfile.write_text("FROM debian\nRUN cd /tmp && apt-get install curl\n")
        found = " ".join(lint.hadolint_problems(dockerfile))
        run.check("hadolint finds an unpinned base", [] if "DL3006" in found else [found])
        pathlib.Path(folder, "kustomization.yaml").write_text("resources: [lost.yaml]\n")
        try:
            render.kustomize(folder)
            run.check("kustomize finds a lost file", ["it found nothing"])
        except render.RenderError:
            run.check("kustomize finds a lost file", [])


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("checkov")
    parser.add_argument("--source", default=ROOT)
    arguments = parser.parse_args()
    facts, run = Facts(arguments.source), Run()
    rendered = render_all(run)
    check_schemas(run, rendered)
    check_rules(run, rendered, facts)
    check_broken(run, rendered, facts)
    run.check("checkov", lint.checkov_problems(distinct(rendered), arguments.checkov))
    run.check("hadolint", lint.hadolint_problems(ROOT / "docker/Dockerfile"))
    check_broken_tools(run, rendered, arguments.checkov)
    print(f"manifests: {run.passed} passed, {run.failed} failed, {run.skipped} skipped")
    return 1 if run.failed else 0


if __name__ == "__main__":
    sys.exit(main())
