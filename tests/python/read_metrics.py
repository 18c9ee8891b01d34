"""Reads a page of metrics as Prometheus would, and prints it as JSON.

Usage: read_metrics.py URL
Prints {family: {"type": ..., "samples": [[name, labels, value], ...]}}; a page that breaks the
format, or has a family twice, is an error.
"""

import json
import sys
import urllib.request

from prometheus_client.parser import text_string_to_metric_families


def main(url):
    with urllib.request.urlopen(url, timeout=30) as response:
        page = response.read().decode()
    families = {}
    for family in text_string_to_metric_families(page):
        if family.name in families:
            sys.exit(f"{family.name} is there twice")
        samples = [[sample.name, sample.labels, sample.value] for sample in family.samples]
        families[family.name] = {"type": family.type, "samples": samples}
    print(json.dumps(families))


if __name__ == "__main__":
    main(*sys.argv[1:])
