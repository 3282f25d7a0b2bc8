// Verifies one request with the official JavaScript library of Standard Webhooks.
const { readFileSync } = require("node:fs");
const { Webhook } = require("standardwebhooks");

const { key, headers, body } = JSON.parse(readFileSync(0, "utf8"));
try {
  new Webhook(key).verify(Buffer.from(body, "base64"), headers);
} catch (error) {
  console.error(error.message);
  process.exit(1);
}
