// openid-client, versions 5 and 6, with default settings: discovery from the issuer alone, then a token.
// Reads the issuer and a client as JSON from its argument, prints as JSON what each version got.
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const require = createRequire(`${process.cwd()}/`);
const version6 = await import(pathToFileURL(require.resolve("openid-client")));
const { Issuer } = require("openid-client-5");

const { issuer, id, secret } = JSON.parse(process.argv[2]);

async function withVersion5() {
  const found = await Issuer.discover(issuer);
  const client = new found.Client({ client_id: id, client_secret: secret });
  return { tokenEndpoint: found.metadata.token_endpoint, answer: await client.grant({ grant_type: "client_credentials" }) };
}

async function withVersion6() {
  const plainHttp = { execute: [version6.allowInsecureRequests] };
  const found = await version6.discovery(new URL(issuer), id, secret, undefined, plainHttp);
  const answer = await version6.clientCredentialsGrant(found, { scope: "API" });
  return { tokenEndpoint: found.serverMetadata().token_endpoint, answer };
}

console.log(JSON.stringify({ 5: await withVersion5(), 6: await withVersion6() }));
