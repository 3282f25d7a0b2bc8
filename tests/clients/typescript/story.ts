// A settings screen and a first incident, told with the generated client alone: not a line of HTTP is written here.
import assert from "node:assert/strict";
import {
  ChannelsApi,
  Configuration,
  DeadLettersApi,
  DeadReason,
  EndpointsApi,
  EventsApi,
  Format,
  IntegrationsApi,
  KeysApi,
  OutcomeClass,
  ProblemCodeEnum,
  ProblemFromJSON,
  ReplayFromJSON,
  ResponseError,
  Scope,
  SubscriptionsApi,
  TenantsApi,
  Ticked,
  type Event,
} from "./index.js";

const { CARTEIRO_URL: basePath = "", CARTEIRO_RECEIVER: receiver = "", CARTEIRO_KEY: operatorKey = "" } = process.env;
const tenant = "typescript";

const settings = (accessToken: string) => new Configuration({ basePath, accessToken });

/** The parsed problem of a call that must be refused. */
async function refused(call: Promise<unknown>) {
  const error = await call.then(
    () => assert.fail("it was done"),
    (error: unknown) => error,
  );
  assert.ok(error instanceof ResponseError, String(error));
  return ProblemFromJSON(await error.response.json());
}

/** Asks again until there is an answer. */
async function eventually<T>(look: () => Promise<T | undefined>): Promise<T> {
  for (const deadline = Date.now() + 60_000; Date.now() < deadline; ) {
    const seen = await look();
    if (seen !== undefined) return seen;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  return assert.fail("nothing after a minute");
}

const message = (id: string): Event => ({
  id,
  type: "message.received",
  channel: { id: 7 },
  ticket: { id: "1", queue: { id: "12" } },
  message: { text: id },
});

// The operator makes a tenant and its key, with which the tenant sets everything up.
await new TenantsApi(settings(operatorKey)).createTenant({ newTenantSettings: { id: tenant } });
const newKey = { id: "backend", scopes: [Scope.Publish, Scope.Read, Scope.Manage] };
const { key } = await new KeysApi(settings(operatorKey)).createKey({ tenant, newKey });
assert.ok(key, "a new key is shown");
const own = settings(key);
const [endpoints, channels, events, letters] = [new EndpointsApi(own), new ChannelsApi(own), new EventsApi(own), new DeadLettersApi(own)];

const headers = { "x-plain": "shown", "x-secret": { secret: "S3CRET" } };
const crm = { id: "crm", url: `${receiver}/crm`, format: Format.Whazing, headers, retry: { schedule: ["1s"], maxAge: "72h" } };
const made = await endpoints.createEndpoint({ tenant, newEndpoint: crm });
assert.match(made.secret ?? "", /^whsec_/, "a new endpoint shows its secret");
// Every attempt fails, and there is one: what is for it ends at once.
await endpoints.createEndpoint({ tenant, newEndpoint: { id: "dead", url: "http://127.0.0.1:9/", retry: { schedule: [] } } });
for (const endpointId of ["crm", "dead"]) {
  const newSubscription = { endpointId, eventTypes: ["message.*"], channelIds: [7, "suporte"] };
  await new SubscriptionsApi(own).createSubscription({ tenant, newSubscription });
}
const channelWebhookBody = { url: `${receiver}/channel`, events: [Ticked.NewTicket, Ticked.Received] };
await channels.putChannelWebhook({ tenant, channelId: "7", channelWebhookBody });
const integrations = new IntegrationsApi(own);
await integrations.createIntegration({ tenant, newIntegration: { id: "bot", url: `${receiver}/bot`, n8nApiKey: "its key" } });
await integrations.putQueueIntegration({ tenant, queueId: "12", queueIntegrationBody: { integrationId: "bot" } });

// Lists, patches and rotations, each with what must stay as it was.
const listed = await endpoints.listEndpoints({ tenant, limit: 2 });
assert.deepEqual(listed.items.map((endpoint) => endpoint.id), ["channel-7", "crm"]);
const rest = await endpoints.listEndpoints({ tenant, cursor: listed.next ?? "" });
assert.deepEqual(rest.items.map((endpoint) => endpoint.id), ["dead", "integration-bot"]);
const patched = await endpoints.patchEndpoint({ tenant, id: "crm", endpointPatch: { name: "CRM" } });
assert.deepEqual([patched.name, patched.format, patched.timeout], ["CRM", Format.Whazing, "15s"]);
assert.deepEqual(patched.headers, { "x-plain": "shown", "x-secret": { secret: "***" } });
const rotated = await endpoints.rotateEndpointSecret({ tenant, id: "crm", rotateSecret: { overlap: "1h" } });
assert.match(rotated.secret ?? "", /^whsec_/);
const boxes = { events: [Ticked.Received, Ticked.Sent] };
assert.equal((await channels.patchChannelWebhook({ tenant, channelId: "7", channelWebhookPatch: boxes })).url, `${receiver}/channel`);

// Events go in, alone and several at once, and a test shows its attempt.
const { accepted } = await events.publishEvents({ tenant, events: message("typescript-1") });
assert.deepEqual(accepted.map((event) => event.id), ["typescript-1"]);
await events.publishEvents({ tenant, events: { events: [message("typescript-2"), message("typescript-3")] } });
const { attempt } = await endpoints.testEndpoint({ tenant, id: "crm" });
assert.deepEqual([attempt.outcome, attempt.status], [OutcomeClass._2xx, 200]);

// What failed is found, its cause is mended, and all of it is replayed.
const dead = await eventually(async () => {
  const { items } = await letters.listDeadLetters({ tenant, endpointId: "dead" });
  return items.length === 3 ? items : undefined;
});
assert.deepEqual(new Set(dead.map((letter) => letter.reason)), new Set([DeadReason.Exhausted]));
await endpoints.patchEndpoint({ tenant, id: "dead", endpointPatch: { url: `${receiver}/mended` } });
const filter = { endpointId: "dead" };
assert.equal((await letters.startReplay({ tenant, replayBody: { filter, dryRun: true } })).matched, 3);
// The generator types the first success only, which is the count.
const started = await letters.startReplayRaw({ tenant, replayBody: { filter } });
const { id } = ReplayFromJSON(await started.raw.json());
const ended = await eventually(async () => {
  const replay = await letters.getReplay({ tenant, id });
  return replay.state === "running" ? undefined : replay;
});
assert.equal(ended.replayed, 3);

// Problems are parsed: a program finds the code, and a person the place.
const wrong = await refused(endpoints.createEndpoint({ tenant, newEndpoint: { url: "ftp://crm.example/", maxInFlight: 0 } }));
assert.deepEqual([wrong.status, wrong.code], [422, ProblemCodeEnum.InvalidBody]);
assert.deepEqual(wrong.errors?.map((error) => error.pointer), ["/url", "/max_in_flight"]);
assert.equal((await refused(endpoints.getEndpoint({ tenant, id: "none" }))).code, ProblemCodeEnum.NotFound);
