"""Rights in the cluster: none, but for the one Role that says why."""

from cluster import kinds, name_of, pods

# What the nightly roll may do.
VERBS = {"get", "patch"}


def rights_are_minimal(docs, _facts):
    there = {(doc["kind"], doc["metadata"]["name"]) for doc in docs}
    for doc in kinds(docs, "ClusterRole", "ClusterRoleBinding"):
        yield f"{name_of(doc)}: rights over the whole cluster"
    for role in kinds(docs, "Role"):
        for rule in role["rules"]:
            yield from rule_is_minimal(role, rule, there)
    for binding in kinds(docs, "RoleBinding"):
        role = binding["roleRef"]
        if (role["kind"], role["name"]) not in there:
            yield f"{name_of(binding)}: binds {role['name']}, which is not there"
        for subject in binding["subjects"]:
            if (subject["kind"], subject["name"]) not in there:
                yield f"{name_of(binding)}: {subject['name']} is not there"


def rule_is_minimal(role, rule, there):
    if "*" in str(rule):
        yield f"{name_of(role)}: a wildcard"
    if not set(rule["verbs"]) <= VERBS:
        yield f"{name_of(role)}: verbs {rule['verbs']}; {sorted(VERBS)} suffice"
    if not rule.get("resourceNames"):
        yield f"{name_of(role)}: every object of {rule['resources']}"
    for name in rule.get("resourceNames", []):
        if ("Deployment", name) not in there:
            yield f"{name_of(role)}: rights on {name}, which is not there"


def tokens_where_needed(docs, _facts):
    bound = {subject["name"] for binding in kinds(docs, "RoleBinding")
             for subject in binding["subjects"]}
    for account in kinds(docs, "ServiceAccount"):
        if account.get("automountServiceAccountToken") is not False:
            yield f"{name_of(account)}: mounts its token into every pod"
    for pod in pods(docs):
        if pod.spec.get("automountServiceAccountToken") is not False:
            yield f"{pod.name}: mounts a token into every container"
        tokens = [volume["name"] for volume in pod.volumes.values()
                  if "serviceAccountToken" in str(volume.get("projected", {}))]
        holders = [c["name"] for c in pod.containers
                   if any(m["name"] in tokens for m in c.get("volumeMounts", []))]
        if bool(holders) != (pod.spec["serviceAccountName"] in bound) or len(holders) > 1:
            yield f"{pod.name}: the token is held by {holders}; exactly who has rights needs one"


RULES = [rights_are_minimal, tokens_where_needed]
