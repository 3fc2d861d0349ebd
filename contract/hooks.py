"""Hooks and checks of Schemathesis for rules that the document cannot express."""

import json
import os
import re
from urllib.parse import parse_qs, urlsplit

import requests
import schemathesis
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.core.parameters import ParameterLocation
from schemathesis.openapi.checks import RejectedPositiveData

# The white space in the document's pattern of a title. str.strip() removes more.
SPACE = "\t\n\v\f\r \u0085\u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u2028\u2029\u202f\u205f\u3000"


SET_BY_SERVICE = {"created_at", "updated_at", "revision"}

TAG = r'(W/)?"[!#-~]{0,60}"'
schemathesis.openapi.format("entity-tags", st.just("*") | st.from_regex(rf"{TAG}([ \t]*,[ \t]*{TAG}){{0,3}}", fullmatch=True))


@schemathesis.hook
def before_load_schema(context, raw_schema):
    # The format of the conditional headers, in addition to their pattern. Without it, the coverage phase generates
    # values of letters and digits only, none of which is an entity tag, and regards them as valid.
    for name in ("IfMatch", "IfNoneMatch"):
        raw_schema["components"]["parameters"][name]["schema"]["format"] = "entity-tags"
    # The pattern already limits a title. maxLength only reflects the size limit of a body, and makes Schemathesis spend
    # a minute of each run on strings of that length.
    schemas = raw_schema["components"]["schemas"]
    del schemas["Title"]["maxLength"]
    # What the service sets is ignored in requests, whatever its value.
    for request, names in {"NewTask": SET_BY_SERVICE | {"etag"}, "TaskChanges": SET_BY_SERVICE}.items():
        for name in names:
            schemas[request]["properties"][name] = {}


# The example of a task id in the document. before_call replaces it with the id of a new task, and does the same for the
# members of a valid body that must agree with that task: of all generated values, hardly any would.
EXAMPLE = "8f14e45f-ceea-467f-a0e6-1c2d3b4a5f60"


@schemathesis.hook
def before_call(context, case, kwargs):
    if (case.path_parameters or {}).get("task_id") != EXAMPLE:
        return
    created = requests.post(
        f"{os.environ['DOCKET_URL']}/api/{os.environ['DOCKET_OWNER']}/tasks",
        json={"title": "A task"},
        headers={"Authorization": f"Bearer {os.environ['DOCKET_TOKEN']}"},
    )
    created.raise_for_status()
    task = created.json()
    case.path_parameters["task_id"] = task["id"]
    body = case.meta.components.get(ParameterLocation.BODY) if case.meta else None
    if body and body.mode == GenerationMode.POSITIVE and isinstance(case.body, dict):
        case.body.update({name: task[name] for name in ("id", "user_id", "etag") if name in case.body})


def sent(response):
    """The method, path, query, headers and JSON body of the request. The body is None unless it is JSON."""
    request = response.request
    url = urlsplit(request.url)
    body = request.body
    if isinstance(body, str):
        body = body.encode()
    try:
        body = json.loads(body) if body else None
    except ValueError:
        body = None
    return request.method, url.path, parse_qs(url.query, keep_blank_values=True), request.headers, body


def contradictions(query):
    """The query parameters of a list that contradict another one, which a schema cannot forbid."""
    single = {name: values[0] for name, values in query.items() if len(values) == 1}
    found = set()
    status, completed = single.get("status"), single.get("completed")
    if (status, completed) in {("pending", "true"), ("completed", "false")}:
        found.add("completed")
    if "sort" in single and "sort_by" in single and single["sort"] != single["sort_by"].removesuffix("_at"):
        found.add("sort_by")
    if "order" in single and "sort_order" in single and single["order"] != single["sort_order"]:
        found.add("sort_order")
    if "cursor" in single and "offset" in single:
        found.add("offset")
    return found


def is_list(method, path):
    return method in ("GET", "HEAD") and re.fullmatch(r"/api/[^/]+/tasks", path) is not None


def problem(response):
    try:
        return response.json() if response.status_code >= 400 else {}
    except ValueError:
        return {}


@schemathesis.hook
def filter_failure(context, failure, case, response):
    """Accepts that a request is refused although it matches its schema, for the rules that a schema cannot express."""
    if not isinstance(failure, RejectedPositiveData):
        return True
    method, path, query, headers, body = sent(response)
    body = body if isinstance(body, dict) else {}
    document = problem(response)
    named = {fault.get("header") or fault.get("parameter") or fault.get("pointer") for fault in document.get("errors", [])}
    match response.status_code, document.get("code"):
        case 412, "precondition_failed":  # generated tags are stale
            return headers.get("If-Match") in (None, "*") and "etag" not in body
        case 400, "invalid_parameter" if named == {"If-Match"}:  # generated tags differ
            return not ("If-Match" in headers and "etag" in body)
        case 400, "no_changes":  # only what is no field
            return not body or not body.keys() <= SET_BY_SERVICE | {"id", "user_id", "etag"}
        case 422, "validation_failed":  # generated ids differ from those in the path
            return not named <= {"#/id", "#/user_id"}
        case 422, "idempotency_key_reused":  # generated keys repeat
            return "Idempotency-Key" not in headers
        case 400, "invalid_parameter" if is_list(method, path):
            # A generated cursor is not valid. It is decoded only if no parameters contradict each other.
            return named != (contradictions(query) or ({"cursor"} if "cursor" in query else set()))
    return True


@schemathesis.check
def contradictions_are_refused(ctx, response, case):
    method, path, query, _, _ = sent(response)
    if is_list(method, path) and contradictions(query):
        assert response.status_code >= 400, f"{contradictions(query)} contradict other parameters"


@schemathesis.check
def responses_have_the_common_headers(ctx, response, case):
    header = {name.lower(): ", ".join(values) for name, values in response.headers.items()}
    assert re.fullmatch(r"[A-Za-z0-9._-]{1,64}", header.get("x-request-id", "")), "X-Request-Id"
    method, path, *_ = sent(response)
    if path.startswith("/api/") and method != "OPTIONS":
        vary = "Origin, Authorization"
        if is_list(method, path) and response.status_code < 400:
            vary += ", Accept-Encoding"
        assert header.get("cache-control") == "private, no-cache", "Cache-Control"
        assert header.get("vary") == vary, "Vary"


@schemathesis.check
def problems_are_consistent_with_their_response(ctx, response, case):
    if response.status_code < 400 or response.request.method == "HEAD":
        return
    document = problem(response)
    request_id = response.headers["x-request-id"][0]
    assert response.headers["content-type"] == ["application/problem+json"]
    assert document["status"] == response.status_code
    assert document["request_id"] == request_id and document["instance"] == f"/requests/{request_id}"
    assert document["type"] == f"/problems/{document['code']}"


@schemathesis.check
def tasks_have_the_values_of_the_request(ctx, response, case):
    method, path, _, headers, body = sent(response)
    if response.status_code not in (200, 201) or not isinstance(body, dict) or "/tasks" not in path:
        return
    task = response.json()
    want = dict(body)
    if method == "POST" and path.endswith("/tasks"):
        want = {"description": None, "priority": "medium", "completed": False} | want
    if path.endswith("/complete") and want.get("completed") is None:
        want.pop("completed", None)  # the request toggles the value
    if "title" in want:
        want["title"] = want["title"].strip(SPACE)
    for name in want.keys() - SET_BY_SERVICE - {"etag"}:
        value = want[name]
        assert task[name] == value, f"{name} is {task[name]!r}, and {value!r} was sent"
