// Verifies the `v1a` signature of one request with Node's own ed25519: the official libraries have `v1` only.
const { createPublicKey, verify } = require("node:crypto");
const { readFileSync } = require("node:fs");

const { key, headers, body } = JSON.parse(readFileSync(0, "utf8"));
const bytes = Buffer.from(key.replace(/^whpk_/, ""), "base64");
const publicKey = createPublicKey({ key: { kty: "OKP", crv: "Ed25519", x: bytes.toString("base64url") }, format: "jwk" });
const signed = Buffer.concat([
  Buffer.from(`${headers["webhook-id"]}.${headers["webhook-timestamp"]}.`),
  Buffer.from(body, "base64"),
]);
const signatures = headers["webhook-signature"].split(" ").map((signature) => signature.split(","));
const isGood = ([kind, signature]) => kind === "v1a" && verify(null, signed, publicKey, Buffer.from(signature, "base64"));
if (!signatures.some(isGood)) {
  console.error("No matching signature found");
  process.exit(1);
}
