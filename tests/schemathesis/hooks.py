"""What a schema cannot say about requests, for schemathesis: these are the exceptions, each with its reason.

No check is switched off. A request that the schemas allow is made consistent here before it is sent, as any client would
do it; a request that they forbid is sent as it is.
"""

import string
import time

import schemathesis
from hypothesis import strategies as st

# Which addresses are allowed depends on the operator's networks, and the format `uri` has other schemes as well. These are
# names of public hosts; nothing is sent there, because the process under test has a proxy that is not there.
WORD = st.text(string.ascii_lowercase + string.digits, min_size=1, max_size=12)
schemathesis.openapi.format(
    "uri",
    st.builds("{}://{}.example/{}".format, st.sampled_from(["http", "https"]), WORD, WORD),
)

# What the tenant of the tests has: a reference to what does not exist is refused, and no schema knows what exists. It is
# kept: nothing of it is deleted, and its key stays.
TENANT, KEY, ENDPOINT, INTEGRATION = "acme", "all", "crm", "bot"
IDS = {"endpoints": ENDPOINT, "subscriptions": "all", "sources": "main", "integrations": INTEGRATION}
VIEWS = {"channel_id": "7", "queue_id": "12"}

# The routing key of an event has room for 255 bytes: for the ids of its tenant, channel and queue, and its type together.
LONGEST_ID = 24


@schemathesis.hook
def before_call(context, case, kwargs):
    meta = case.meta
    if isinstance(case.query, dict) and context.operation.path.endswith("/explain"):
        # With one of these the body is a vendor's, which has another schema or none.
        for name in ("source_id", "dialect", "channel_id"):
            case.query.pop(name, None)
    keep(case, context.operation.path)
    if meta is None or not meta.generation.mode.is_positive:
        return
    to_what_exists(case, context.operation.path)
    history_follows(case, context.operation.path)
    # A made-up condition is not that of what is there. Some that are made have no quotation marks, against their pattern.
    for name in [name for name in case.headers or {} if name.lower() in ("if-match", "if-none-match")]:
        del case.headers[name]
    query = case.query
    if isinstance(query, dict):
        # A cursor is what an answer gave, and no schema can describe it further.
        query.pop("cursor", None)
        # A strict request refuses what is probably a mistake, which is what made-up words are.
        query.pop("strict", None)
        if context.operation.path.endswith("/usage"):
            one_answer_has_few_days(query)
        if context.operation.path.endswith("/stats"):
            one_answer_has_few_hours(query)
    if isinstance(case.body, dict):
        case.body = readable(case.body)
        # A body may repeat the id in its path, and no other.
        if case.method in ("PUT", "PATCH"):
            for name in ("id", "channel_id", "queue_id"):
                case.body.pop(name, None)
        # What is not described stays: other requests need it.
        if "prune" in case.body:
            case.body["prune"] = False
        consistent(case.body)


def readable(value):
    """Writes whole numbers as they are read, and no masks.

    A whole number has digits only, and JSON Schema takes 5.0 for one, too. A mask stands for a secret that is stored.
    """
    if isinstance(value, dict):
        return {name: readable(field) for name, field in value.items()}
    if isinstance(value, list):
        return [readable(item) for item in value]
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return "a secret" if value == "***" else value


def keep(case, path):
    """What the tests need was seen in answers. It stays: its ids are changed in what would delete, rotate or bound it."""
    parameters = case.path_parameters or {}
    kept = {"tenant": TENANT} if path == "/v1/tenants/{tenant}" else {}
    if "/keys/{id}" in path:
        kept["id"] = KEY
    elif case.method == "DELETE" and path.startswith("/v1/tenants/{tenant}/"):
        kept |= {"id": IDS.get(path.split("/")[4])} | VIEWS
    for name, value in kept.items():
        if parameters.get(name) == value:
            parameters[name] = "another"


def to_what_exists(case, path):
    """Requests go to the tenant of the tests, and those that delete nothing to what it has."""
    parameters = case.path_parameters
    if not parameters or not path.startswith("/v1/tenants/{tenant}/"):
        return
    parameters["tenant"] = TENANT
    # What a stateful test has made has its own ids.
    if case.method == "DELETE" or case.meta.phase.name.value == "stateful":
        return
    kind = path.split("/")[4]
    if "id" in parameters and kind in IDS:
        parameters["id"] = IDS[kind]
    parameters.update({name: VIEWS[name] for name in VIEWS if name in parameters})


def one_answer_has_few_days(query):
    """From a day to the same day: any two days may be further apart than one answer has room for."""
    day = query.get("from") or query.get("to")
    if day is not None:
        query["from"] = query["to"] = day


def one_answer_has_few_hours(query):
    """Without a beginning: any two times may be further apart than one answer has room for."""
    query.pop("since", None)


def history_follows(case, path):
    """An event that was accepted is found once its record is written, some hundred milliseconds later."""
    if case.meta.phase.name.value == "stateful" and case.method == "GET" and path.endswith(("/events/{id}", "/deliveries/{id}")):
        time.sleep(2)


def consistent(body):
    """Makes what the fields of a body say about one another agree."""
    for event in [body, *objects(body.get("events"))]:
        short_ids(event)
    for tenant in objects(body.get("tenants")):
        consistent_tenant(tenant)
    if isinstance(body.get("tenant"), str):
        # The only tenant to change is the one that is described.
        body["tenants"] = [tenant for tenant in objects(body.get("tenants")) if tenant.get("id") == body["tenant"]]
    consistent_endpoint(body)
    not_retiring(body)
    consistent_subscription(body, ENDPOINT)
    if isinstance(body.get("integration_id"), str):
        body["integration_id"] = INTEGRATION
    if isinstance(body.get("to_endpoint_id"), str):
        body["to_endpoint_id"] = ENDPOINT


def consistent_tenant(tenant):
    """In a description of everything, subscriptions refer to described endpoints, and an id or a token occurs once."""
    for name in ("endpoints", "subscriptions", "sources", "keys"):
        if isinstance(tenant.get(name), list):
            tenant[name] = list({item.get("id"): item for item in objects(tenant[name])}.values())
    for item in objects(tenant.get("sources")) + objects(tenant.get("keys")):
        not_retiring(item)
        # A key and a token are one's alone in the whole installation. Where they are left out they are made.
        for name in ("hash", "token"):
            item.pop(name, None)
    endpoints = [endpoint["id"] for endpoint in objects(tenant.get("endpoints"))]
    for endpoint in objects(tenant.get("endpoints")):
        consistent_endpoint(endpoint)
    if not endpoints and tenant.get("subscriptions"):
        tenant["subscriptions"] = []
    for subscription in objects(tenant.get("subscriptions")):
        consistent_subscription(subscription, endpoints[0])


def not_retiring(item):
    """One schema describes what retires, of a source as of an endpoint; and a key's old hash is another than its hash."""
    for name in ("old_token", "old_hash"):
        item.pop(name, None)
    # What is made where it is left out may be null only where nothing is stored, and no schema knows what is.
    for name in ("hash", "token"):
        if item.get(name, "") is None:
            del item[name]


def consistent_endpoint(endpoint):
    secrets = endpoint.get("secrets")
    if isinstance(secrets, list):
        # The first secret stays, and signs as `signature` says. The two halves of a long private key belong together.
        texts = [secret for secret in secrets if isinstance(secret, str) and secret.startswith("whsec_")]
        endpoint["secrets"] = texts
        endpoint["signature"] = "v1"
    elif endpoint.get("signature") == "v1a" or "secrets" in endpoint:
        endpoint["signature"] = "v1"
    if isinstance(endpoint.get("url"), str) and endpoint["url"].lower().removesuffix("//") in ("http:", "https:"):
        # The shortest text that the pattern allows has no host, which the format `uri` of HTTP wants.
        endpoint["url"] = "https://receiver.example/"
    if isinstance(endpoint.get("rate_limit"), dict):
        # A patch of it is merged with what is stored, which may be none.
        endpoint["rate_limit"].setdefault("per_second", 1)
    headers = endpoint.get("headers")
    if isinstance(headers, dict):
        # The names of headers have no case, all of them take 6 KiB at most, and `n8n_api_key` is a header too.
        once = {name.lower(): name for name in headers if len(name) < 64 and name.lower() not in FORBIDDEN}
        short = {name: headers[name] for name in once.values() if len(str(headers[name])) < 64}
        endpoint["headers"] = short


FORBIDDEN = {"x-n8n-api-key"}


def consistent_subscription(subscription, endpoint):
    if isinstance(subscription.get("endpoint_id"), str):
        subscription["endpoint_id"] = endpoint
    # A patch is merged with what is stored, which may have no queues.
    if subscription.get("start_on_transfer") is True and not subscription.get("queue_ids") and "endpoint_id" not in subscription:
        subscription["start_on_transfer"] = False


def short_ids(event):
    for place in (event.get("channel"), (event.get("ticket") or {}).get("queue") if isinstance(event.get("ticket"), dict) else None):
        if isinstance(place, dict) and place.get("id") is not None:
            place["id"] = str(place["id"])[:LONGEST_ID]
    if isinstance(event.get("type"), str) and len(event["type"]) > 64:
        event["type"] = "ticket.created"


def objects(values):
    return [value for value in values or [] if isinstance(value, dict)] if isinstance(values, list) else []
