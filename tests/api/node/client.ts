// A client of the management API, typed by what openapi-typescript makes of its document. It creates a client, rotates
// its secret, uses both, adds a key and pauses it, and deletes the client; it prints what it saw as JSON.
import createClient from "openapi-fetch";
import type { components, paths } from "./schema.js";

declare const process: { argv: string[] };

interface Task {
  server: string;
  api: string;
  clientId: string;
  secret: string;
}

const task: Task = JSON.parse(process.argv[2]!);

async function requestToken(clientId: string, secret: string): Promise<{ status: number; token: string }> {
  const response = await fetch(`${task.server}/connect/token`, {
    method: "POST",
    body: new URLSearchParams({ grant_type: "client_credentials", client_id: clientId, client_secret: secret }),
  });
  return { status: response.status, token: response.ok ? (await response.json()).access_token : "" };
}

function required<T>(value: T | null | undefined, problem?: components["schemas"]["ProblemDetails"]): T {
  if (value === null || value === undefined) {
    throw new Error(JSON.stringify(problem));
  }
  return value;
}

const { token } = await requestToken(task.clientId, task.secret);
const api = createClient<paths>({ baseUrl: task.api, headers: { Authorization: `Bearer ${token}` } });

const creation = await api.POST("/clients", {
  params: { header: { "Idempotency-Key": crypto.randomUUID() } },
  body: { client_id: "typed-client", roles: ["MerchantUser"], tags: ["typescript"], token_duration_minutes: 10 },
});
const created = required(creation.data, creation.error);
const firstSecret = required(created.client_secret);
const path = { id: created.id };
const firstVersion = required(creation.response.headers.get("ETag"));

const update = await api.PATCH("/clients/{id}", {
  params: { path, header: { "If-Match": firstVersion } },
  headers: { "Content-Type": "application/merge-patch+json" },
  body: { name: "Typed client" },
});
const secondVersion = required(update.response.headers.get("ETag"));

const rotation = await api.POST("/clients/{id}/secrets", {
  params: { path, header: { "If-Match": secondVersion } },
  body: { overlap: "1h" },
});
const secondSecret = required(required(rotation.data, rotation.error).client_secret);

const stale = await api.DELETE("/clients/{id}", { params: { path, header: { "If-Match": firstVersion } } });
const used = [
  (await requestToken("typed-client", firstSecret)).status,
  (await requestToken("typed-client", secondSecret)).status,
];
const secrets = required((await api.GET("/clients/{id}/secrets", { params: { path } })).data);
const listed = required((await api.GET("/clients", { params: { query: { q: "typed", sort: "-created_at" } } })).data);

const pair = await crypto.subtle.generateKey({ name: "ECDSA", namedCurve: "P-256" }, true, ["sign", "verify"]);
const { kty, crv, x, y } = await crypto.subtle.exportKey("jwk", pair.publicKey);
const rotated = required(rotation.response.headers.get("ETag"));
const addition = await api.POST("/clients/{id}/keys", {
  params: { path, header: { "If-Match": rotated } },
  body: { public_key: { kty, crv, x, y } },
});
const key = required(addition.data, addition.error);
const pause = await api.POST("/clients/{id}/keys/{key_id}/pause", {
  params: {
    path: { id: created.id, key_id: key.id },
    header: { "If-Match": required(addition.response.headers.get("ETag")) },
  },
});
const keys = required((await api.GET("/clients/{id}/keys", { params: { path } })).data);

const current = await api.GET("/clients/{id}", { params: { path } });
const lastVersion = required(current.response.headers.get("ETag"));
const deletion = await api.DELETE("/clients/{id}", { params: { path, header: { "If-Match": lastVersion } } });

console.log(
  JSON.stringify({
    name: required(update.data, update.error).name,
    used,
    states: secrets.items.map((secret) => secret.state),
    keys: [required(pause.data, pause.error), ...keys.items].map((each) => [each.label, each.algorithm, each.state]),
    listed: listed.items.map((client) => [client.client_id, client.tags]),
    stale: { status: stale.error?.status, title: stale.error?.title },
    deleted: deletion.response.status,
    usedAfterwards: (await requestToken("typed-client", secondSecret)).status,
  }),
);
