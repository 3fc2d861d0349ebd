"""Counts the examples that the fuzzing phase sent to each operation, and fails if one received too few.

Usage: examples.py EVENTS OPENAPI. Schemathesis does not report that a run ended early. An operation without input, such
as a probe, has only one example.
"""

import collections
import json
import sys

import yaml

MINIMUM = 500
METHODS = {"get", "put", "post", "delete", "options", "head", "patch", "trace"}

with open(sys.argv[2]) as file:
    paths = yaml.safe_load(file)["paths"]
with open(sys.argv[1]) as file:
    events = [json.loads(line) for line in file]

sent = collections.Counter()
for event in events:
    scenario = event.get("ScenarioFinished", {})
    if scenario.get("phase") == "fuzzing":
        for case in scenario["recorder"]["cases"].values():
            sent[case["value"]["method"], case["value"]["path"]] += 1

failed = False
for path, item in paths.items():
    for method, operation in item.items():
        if method not in METHODS:
            continue
        has_input = "parameters" in item or "parameters" in operation or "requestBody" in operation
        too_few = sent[method.upper(), path] < (MINIMUM if has_input else 1)
        failed = failed or too_few
        print(f"{sent[method.upper(), path]:5} examples of {operation['operationId']}{', too few' if too_few else ''}")
sys.exit(failed)
