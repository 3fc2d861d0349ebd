"""Computes days of rules with python-dateutil, for oracle_test.go.

Each line of input is a rule, the day it starts at, the first day wanted and how many. The answer is a line of days.
"""
import sys
from datetime import datetime

from dateutil.rrule import rrulestr

for line in sys.stdin:
    rule, start, first, n = line.split()
    first, n, days = datetime.fromisoformat(first), int(n), []
    for at in rrulestr(rule, dtstart=datetime.fromisoformat(start)):
        if at >= first:
            days.append(at.date().isoformat())
        if len(days) == n:
            break
    print(*days, flush=True)
