"""A settings screen and a first incident, told with the generated client alone: not a line of HTTP is written here."""

import os
import time
from http import HTTPStatus

from carteiro_client import AuthenticatedClient
from carteiro_client.api.channels import get_channel_webhook, list_channel_webhooks, patch_channel_webhook, put_channel_webhook
from carteiro_client.api.dead_letters import get_dead_letter, get_replay, list_dead_letters, start_replay
from carteiro_client.api.endpoints import create_endpoint, get_endpoint, list_endpoints, patch_endpoint, rotate_endpoint_secret, test_endpoint
from carteiro_client.api.events import explain, publish_events
from carteiro_client.api.integrations import create_integration, put_queue_integration
from carteiro_client.api.keys import create_key
from carteiro_client.api.subscriptions import create_subscription
from carteiro_client.api.tenants import create_tenant
from carteiro_client.models import *

URL, RECEIVER = os.environ["CARTEIRO_URL"], os.environ["CARTEIRO_RECEIVER"]
TENANT = "python"


def done(response, status=HTTPStatus.OK):
    """The parsed answer of a call that must succeed."""
    assert response.status_code == status, (response.status_code, response.content)
    assert not isinstance(response.parsed, Problem) and response.parsed is not None, response.parsed
    return response.parsed


def refused(response, status, code, *pointers):
    """The parsed problem of a call that must be refused."""
    problem = response.parsed
    assert isinstance(problem, Problem) and response.status_code == problem.status == status, response
    assert problem.code == code, problem
    assert [error.pointer for error in problem.errors or []] == list(pointers), problem
    return problem


def eventually(look):
    """Asks again until there is an answer."""
    deadline = time.monotonic() + 60
    while not (seen := look()):
        assert time.monotonic() < deadline, "nothing after a minute"
        time.sleep(0.05)
    return seen


def settings_screen(operator):
    """The operator makes a tenant and its key; with that key the tenant sets everything up. Returns the tenant's client."""
    done(create_tenant.sync_detailed(client=operator, body=NewTenantSettings(id=TENANT, name="From Python")), 201)
    scopes = [Scope.PUBLISH, Scope.READ, Scope.MANAGE]
    key = done(create_key.sync_detailed(TENANT, client=operator, body=NewKey(id="backend", scopes=scopes)), 201)
    tenant = AuthenticatedClient(base_url=URL, token=key.key)

    headers = HeadersInput.from_dict({"x-plain": "shown", "x-secret": {"secret": "S3CRET"}})
    retry = RetryPolicyInput(schedule=["1s", "30s"], max_age="72h")
    crm = NewEndpoint(id="crm", url=f"{RECEIVER}/crm", format_=Format.WHAZING, headers=headers, retry=retry, timeout="5s")
    made = done(create_endpoint.sync_detailed(TENANT, client=tenant, body=crm), 201)
    assert made.secret.startswith("whsec_"), "a new endpoint shows its secret"
    # Every attempt fails, and there is one: what is for it ends at once.
    dead = NewEndpoint(id="dead", url="http://127.0.0.1:9/", retry=RetryPolicyInput(schedule=[]))
    done(create_endpoint.sync_detailed(TENANT, client=tenant, body=dead), 201)
    for endpoint_id in ["crm", "dead"]:
        subscription = NewSubscription(
            endpoint_id=endpoint_id,
            event_types=["message.*"],
            channel_ids=[7, "suporte"],
            directions=[MessageDirection.RECEIVED],
        )
        done(create_subscription.sync_detailed(TENANT, client=tenant, body=subscription), 201)

    webhook = ChannelWebhookBody(url=f"{RECEIVER}/channel", events=[Ticked.NEW_TICKET, Ticked.RECEIVED])
    done(put_channel_webhook.sync_detailed(TENANT, "7", client=tenant, body=webhook), 201)
    bot = NewIntegration(id="bot", name="Bot", url=f"{RECEIVER}/bot", n8n_api_key="its key")
    shown = done(create_integration.sync_detailed(TENANT, client=tenant, body=bot), 201)
    assert shown.n8n_api_key == "***", "secrets are masked in answers"
    queue = QueueIntegrationBody(integration_id="bot", start_on_transfer=True)
    done(put_queue_integration.sync_detailed(TENANT, "12", client=tenant, body=queue), 201)
    return tenant


def changes(tenant):
    """Lists, patches and rotations, each with what must stay as it was."""
    listed = done(list_endpoints.sync_detailed(TENANT, client=tenant, limit=2))
    assert [endpoint.id for endpoint in listed.items] == ["channel-7", "crm"] and listed.next_ is not None, listed
    rest = done(list_endpoints.sync_detailed(TENANT, client=tenant, cursor=listed.next_))
    assert [endpoint.id for endpoint in rest.items] == ["dead", "integration-bot"] and rest.next_ is None, rest

    patched = done(patch_endpoint.sync_detailed(TENANT, "crm", client=tenant, body=EndpointPatch(name="CRM")))
    assert (patched.name, patched.format_, patched.timeout) == ("CRM", Format.WHAZING, "5s"), "a patch changes what it names"
    assert patched.headers["x-plain"] == "shown" and patched.headers["x-secret"].secret == "***", patched.headers
    rotated = done(rotate_endpoint_secret.sync_detailed(TENANT, "crm", client=tenant, body=RotateSecret(overlap="1h")))
    assert rotated.secret.startswith("whsec_") and len(rotated.secrets) == 2, rotated

    boxes = ChannelWebhookPatch(events=[Ticked.RECEIVED, Ticked.SENT])
    done(patch_channel_webhook.sync_detailed(TENANT, "7", client=tenant, body=boxes))
    webhooks = done(list_channel_webhooks.sync_detailed(TENANT, client=tenant)).items
    assert [set(webhook.events) for webhook in webhooks] == [{Ticked.RECEIVED, Ticked.SENT}], webhooks
    webhook = done(get_channel_webhook.sync_detailed(TENANT, "7", client=tenant))
    assert (webhook.channel_id, webhook.state) == ("7", EndpointState.ACTIVE), webhook


def message(event_id, text):
    channel, queue = Channel(id=7), Queue(id="12")
    ticket = Ticket(id=1, status="open", queue=queue)
    return Event(type_="message.received", id=event_id, channel=channel, ticket=ticket, message=Message(text=text))


def events(tenant):
    """Events go in, alone and several at once, and `explain` says where one would go."""
    accepted = done(publish_events.sync_detailed(TENANT, client=tenant, body=message("python-1", "Olá")), 202)
    assert [event.id for event in accepted.accepted] == ["python-1"], accepted
    batch = EventList(events=[message("python-2", "2"), message("python-3", "3")])
    assert len(done(publish_events.sync_detailed(TENANT, client=tenant, body=batch), 202).accepted) == 2
    explained = done(explain.sync_detailed(TENANT, client=tenant, body=message("python-4", "4")))
    matched = {result.endpoint_id for result in explained.results if result.matched}
    assert matched == {"crm", "dead", "channel-7", "integration-bot"}, explained
    attempt = done(test_endpoint.sync_detailed(TENANT, "crm", client=tenant)).attempt
    assert (attempt.outcome, attempt.status) == (OutcomeClass.VALUE_0, 200), attempt


def incident(tenant):
    """What failed is found, its cause is mended, and all of it is replayed."""
    def dead_letters():
        found = done(list_dead_letters.sync_detailed(TENANT, client=tenant, endpoint_id="dead")).items
        return found if len(found) == 3 else None

    letters = eventually(dead_letters)
    assert {letter.reason for letter in letters} == {DeadReason.EXHAUSTED}, letters
    assert {letter.last.outcome.value for letter in letters} == {"connect"}, letters
    letter = done(get_dead_letter.sync_detailed(TENANT, letters[0].id, client=tenant))
    assert letter.body["type"] == "message.received", letter

    done(patch_endpoint.sync_detailed(TENANT, "dead", client=tenant, body=EndpointPatch(url=f"{RECEIVER}/mended")))
    chosen = ReplayFilterInput(endpoint_id="dead", reason=DeadReason.EXHAUSTED)
    counted = done(start_replay.sync_detailed(TENANT, client=tenant, body=ReplayBody(filter_=chosen, dry_run=True)))
    assert counted.matched == 3, counted
    replay = done(start_replay.sync_detailed(TENANT, client=tenant, body=ReplayBody(filter_=chosen)), 202)

    def ended():
        shown = done(get_replay.sync_detailed(TENANT, replay.id, client=tenant))
        return shown if shown.state != "running" else None

    assert eventually(ended).replayed == 3
    assert done(list_dead_letters.sync_detailed(TENANT, client=tenant)).items == []


def refusals(tenant):
    """Problems are parsed: a program finds the code, and a person the place."""
    wrong = NewEndpoint(url="ftp://crm.example/", max_in_flight=0)
    response = create_endpoint.sync_detailed(TENANT, client=tenant, body=wrong)
    refused(response, 422, ProblemCode.INVALID_BODY, "/url", "/max_in_flight")
    refused(get_endpoint.sync_detailed(TENANT, "none", client=tenant), 404, ProblemCode.NOT_FOUND)
    conflict = put_queue_integration.sync_detailed("another", "12", client=tenant, body=QueueIntegrationBody(integration_id="bot"))
    refused(conflict, 404, ProblemCode.NOT_FOUND)
    stale = patch_endpoint.sync_detailed(TENANT, "crm", client=tenant, body=EndpointPatch(name="x"), if_match='"1"')
    refused(stale, 412, ProblemCode.PRECONDITION_FAILED)
    nobody = AuthenticatedClient(base_url=URL, token="a-wrong-key")
    refused(get_endpoint.sync_detailed(TENANT, "crm", client=nobody), 401, ProblemCode.UNAUTHORIZED)


tenant = settings_screen(AuthenticatedClient(base_url=URL, token=os.environ["CARTEIRO_KEY"]))
changes(tenant)
events(tenant)
incident(tenant)
refusals(tenant)
