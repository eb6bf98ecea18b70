// An independent client of the identity endpoint: the library oauth4webapi, which is certified and strict.
// Reads what to do as JSON from its argument, prints as JSON what it saw. The working directory holds node_modules.
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const library = createRequire(`${process.cwd()}/`).resolve("oauth4webapi");
const oauth = await import(pathToFileURL(library));

const { issuer, audience, clients, resourceServer } = JSON.parse(process.argv[2]);
const plainHttp = { [oauth.allowInsecureRequests]: true };
const methods = { client_secret_basic: oauth.ClientSecretBasic, client_secret_post: oauth.ClientSecretPost };

const url = new URL(issuer);
const server = await oauth.processDiscoveryResponse(
  url,
  await oauth.discoveryRequest(url, { algorithm: "oauth2", ...plainHttp }),
);

async function token(client, method, secret = client.secret) {
  const response = await oauth.clientCredentialsGrantRequest(
    server, { client_id: client.id }, methods[method](secret), { scope: "API" }, plainHttp,
  );
  return oauth.processClientCredentialsResponse(server, { client_id: client.id }, response);
}

async function introspect(caller, method, accessToken) {
  const response = await oauth.introspectionRequest(
    server, { client_id: caller.id }, methods[method](caller.secret), accessToken, plainHttp,
  );
  return oauth.processIntrospectionResponse(server, { client_id: caller.id }, response);
}

async function revoke(client, method, accessToken) {
  const response = await oauth.revocationRequest(
    server, { client_id: client.id }, methods[method](client.secret), accessToken, plainHttp,
  );
  await oauth.processRevocationResponse(response);
}

async function validate(accessToken) {
  const request = new Request("https://api.mas.example/payments", {
    headers: { Authorization: `Bearer ${accessToken}` },
  });
  return oauth.validateJwtAccessToken(server, request, audience, plainHttp);
}

async function error(action) {
  try {
    await action();
  } catch (thrown) {
    return { name: thrown.constructor.name, status: thrown.status, cause: thrown.cause };
  }
  return null;
}

const runs = [];
for (const client of clients) {
  for (const method of Object.keys(methods)) {
    const answer = await token(client, method);
    const claims = await validate(answer.access_token);
    const seenByApi = await introspect(resourceServer, method, answer.access_token);
    const seenByClient = await introspect(client, method, answer.access_token);
    await revoke(client, method, answer.access_token);
    const afterwards = await introspect(resourceServer, method, answer.access_token);
    runs.push({ client: client.id, method, answer, claims, seenByApi, seenByClient, afterwards });
  }
}

const [first, second] = clients;
const foreign = (await token(second, "client_secret_basic")).access_token;
const refusals = {
  wrongSecret: await error(() => token(first, "client_secret_basic", "a-wrong-secret")),
  foreignToken: await error(() => revoke(first, "client_secret_basic", foreign)),
};
console.log(JSON.stringify({ server, runs, refusals }));
