"""Counts the examples that the fuzzing phase sent: examples.py events openapi.yaml. Fails on an operation that got too few.

A run that ends early says so nowhere else. An operation without input, such as a probe, has one example and no more.
"""

import collections
import json
import sys

import yaml

LEAST = 500

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

short = 0
for path, item in paths.items():
    shared = item.pop("parameters", [])
    for method, operation in item.items():
        least = LEAST if shared or "parameters" in operation or "requestBody" in operation else 1
        count = sent[method.upper(), path]
        short += count < least
        print(f"{count:5} examples of {operation['operationId']}{'' if count >= least else ', too few'}")
sys.exit(short > 0)
