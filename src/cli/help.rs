//! What the help says after the flags: examples, the environment and the exit codes.

pub(super) const CARTEIRO: &str = "\
Examples:
  carteiro demo                                       watch the whole pipeline at work
  carteiro                                            run all roles in one process
  carteiro tenants create acme                        make a tenant
  carteiro channels set 4 --tenant acme --post-to https://crm.example/hooks --events received
  carteiro events sample | carteiro publish --tenant acme

Environment:
  CARTEIRO_<SECTION>__<KEY>   a setting: CARTEIRO_HTTP__LISTEN is http.listen
  CARTEIRO_SERVER             default of --server, the address of the running process
  CARTEIRO_KEY                default of --key, the key to show it; @FILE reads it from a file

Exit codes:
  0 done, 1 failed, 64 wrong usage, 69 a needed service did not answer, 70 a part of the process is stuck,
  75 the port is taken, 78 configuration or topology not as required";

pub(super) const DEMO: &str = "\
Examples:
  carteiro demo --exit
  carteiro demo --broker amqp://guest:guest@127.0.0.1:5672/%2f";

pub(super) const PUBLISH: &str = "\
Examples:
  carteiro publish --tenant acme event.json
  carteiro events sample message.received | carteiro publish --tenant acme
  carteiro publish --tenant acme --dialect whazing webhook.json";

pub(super) const DELIVERIES: &str = "\
Examples:
  carteiro deliveries list --tenant acme --ticket-id 4711
  carteiro deliveries list --tenant acme --state dead --since 2026-01-31T08:00:00Z
  carteiro deliveries list --tenant acme --contact 5511999990001";

pub(super) const LISTEN: &str = "\
Examples:
  carteiro listen
  carteiro listen --listen 127.0.0.1:9901 --status 503
  carteiro listen --secret @whsec.txt
  carteiro listen --tenant acme --event-type 'message.*' --forward http://127.0.0.1:3000/hooks";

pub(super) const TENANTS: &str = "\
Examples:
  carteiro tenants create acme --name Acme --endpoints 20
  carteiro tenants patch acme --unset quota.endpoints
  carteiro tenants delete acme";

pub(super) const ENDPOINTS: &str = "\
Examples:
  carteiro endpoints create crm --tenant acme --post-to https://crm.example/hooks --format whazing
  carteiro endpoints test crm --tenant acme
  carteiro endpoints rotate crm --tenant acme --overlap 48h";

pub(super) const SUBSCRIPTIONS: &str = "\
Examples:
  carteiro subscriptions create crm-all --tenant acme --endpoint-id crm --event-types 'message.received,ticket.*'
  carteiro subscriptions patch crm-all --tenant acme --channel-ids 4,7";

pub(super) const SOURCES: &str = "\
Examples:
  carteiro sources create main --tenant acme --dialect whazing
  carteiro sources rotate main --tenant acme --overlap 48h";

pub(super) const KEYS: &str = "\
Examples:
  carteiro keys create backend --tenant acme --scopes publish,read
  carteiro keys rotate backend --tenant acme";

pub(super) const CHANNELS: &str = "\
Examples:
  carteiro channels set 4 --tenant acme --post-to https://n8n.example/webhook/1 --events new_ticket,received
  carteiro channels patch 4 --tenant acme --enabled false";

pub(super) const INTEGRATIONS: &str = "\
Examples:
  carteiro integrations create bot --tenant acme --post-to https://n8n.example/webhook/bot
  carteiro integrations test bot --tenant acme";

pub(super) const QUEUES: &str = "\
Examples:
  carteiro queues set 12 --tenant acme --integration-id bot --start-on-transfer
  carteiro queues list --tenant acme";

pub(super) const APPLY: &str = "\
Examples:
  carteiro apply -f tenants.yaml --dry-run
  carteiro apply -f acme.yaml --tenant acme --prune";

pub(super) const EXPLAIN: &str = "\
Example:
  carteiro events sample message.received | carteiro explain --tenant acme -";

pub(super) const BACKUP: &str = "\
Example:
  carteiro backup carteiro.backup";

pub(super) const RESTORE: &str = "\
Example:
  carteiro restore carteiro.backup --data-dir /var/lib/carteiro";
