"""What schemas miss. A rule takes documents and facts and says what is wrong, a line each."""

from rules import jobs, pods, resources, rights, rollout, server, telemetry, wiring

RULES = {
    rule.__name__: rule
    for module in (resources, pods, wiring, rollout, server, rights, telemetry, jobs)
    for rule in module.RULES
}
