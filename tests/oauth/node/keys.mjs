// oauth4webapi and openid-client 6 with private_key_jwt and default settings.
// Reads issuer, client and private key as JSON from its argument, prints as JSON what each library got.
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const require = createRequire(`${process.cwd()}/`);
const load = (name) => import(pathToFileURL(require.resolve(name)));
const [oauth, client] = await Promise.all([load("oauth4webapi"), load("openid-client")]);

const { issuer, id, pem, algorithm } = JSON.parse(process.argv[2]);
const der = Buffer.from(pem.replaceAll(/-----[^-]+-----/g, ""), "base64");
const key = await crypto.subtle.importKey("pkcs8", der, algorithm, false, ["sign"]);
const url = new URL(issuer);

async function withOauth4webapi() {
  const plainHttp = { [oauth.allowInsecureRequests]: true };
  const server = await oauth.processDiscoveryResponse(
    url,
    await oauth.discoveryRequest(url, { algorithm: "oauth2", ...plainHttp }),
  );
  const by = { client_id: id };
  const method = oauth.PrivateKeyJwt(key);
  const answer = await oauth.processClientCredentialsResponse(
    server,
    by,
    await oauth.clientCredentialsGrantRequest(server, by, method, { scope: "API" }, plainHttp),
  );
  const introspect = async () =>
    oauth.processIntrospectionResponse(
      server,
      by,
      await oauth.introspectionRequest(server, by, method, answer.access_token, plainHttp),
    );
  const before = await introspect();
  await oauth.processRevocationResponse(
    await oauth.revocationRequest(server, by, method, answer.access_token, plainHttp),
  );
  return { scope: answer.scope, before: before.active, after: (await introspect()).active };
}

async function withOpenidClient() {
  const plainHttp = { execute: [client.allowInsecureRequests] };
  const server = await client.discovery(url, id, undefined, client.PrivateKeyJwt(key), plainHttp);
  const answer = await client.clientCredentialsGrant(server, { scope: "API" });
  const before = await client.tokenIntrospection(server, answer.access_token);
  await client.tokenRevocation(server, answer.access_token);
  const after = await client.tokenIntrospection(server, answer.access_token);
  return { scope: answer.scope, before: before.active, after: after.active };
}

console.log(JSON.stringify({ oauth4webapi: await withOauth4webapi(), "openid-client": await withOpenidClient() }));
