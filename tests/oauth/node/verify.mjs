// Three independent verifiers of access tokens with their default settings: jose, jsonwebtoken, and oauth4webapi.
// Reads the issuer, the audience and a token as JSON from its argument, prints as JSON the error of each, or null.
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const require = createRequire(`${process.cwd()}/`);
const load = (name) => import(pathToFileURL(require.resolve(name)));
const [jose, oauth, jsonwebtoken] = [await load("jose"), await load("oauth4webapi"), require("jsonwebtoken")];

const { issuer, audience, token } = JSON.parse(process.argv[2]);
const plainHttp = { [oauth.allowInsecureRequests]: true };
const url = new URL(issuer);
const discovery = await oauth.discoveryRequest(url, { algorithm: "oauth2", ...plainHttp });
const server = await oauth.processDiscoveryResponse(url, discovery);
const keys = await (await fetch(server.jwks_uri)).json();

const verifiers = {
  jose: () => jose.jwtVerify(token, jose.createLocalJWKSet(keys), { issuer, audience, typ: "at+jwt" }),
  jsonwebtoken: async () => {
    const { kid } = jose.decodeProtectedHeader(token);
    const key = await jose.importJWK(keys.keys.find((each) => each.kid === kid), "ES256");
    return jsonwebtoken.verify(token, await jose.exportSPKI(key), { issuer, audience, algorithms: ["ES256"] });
  },
  oauth4webapi: () => {
    const request = new Request(`${audience}/payments`, { headers: { Authorization: `Bearer ${token}` } });
    return oauth.validateJwtAccessToken(server, request, audience, plainHttp);
  },
};

const errors = {};
for (const [name, verify] of Object.entries(verifiers)) {
  errors[name] = await verify().then(() => null, (error) => String(error.cause ?? error));
}
console.log(JSON.stringify(errors));
