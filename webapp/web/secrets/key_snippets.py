"""Ready code that requests a token with a key, by `private_key_jwt`."""

from collections.abc import Sequence

from ...core.database.models import ClientKey, IdentityClient, utc_now
from ...core.i18n import gettext
from ...core.secrets.client_secrets import keys_not_ended
from ...core.secrets.public_keys import ED25519, EDDSA, ES256, PS256
from ...host import services
from .snippets import Snippet, environment_prefix, scopes_of, token_url

# By algorithm: the key class of joserfc, the parameters of WebCrypto, and those of Java.
_PYTHON_KEYS = {ES256: "ECKey", EDDSA: "OKPKey", PS256: "RSAKey"}
_NODE_KEYS = {
    ES256: '{ name: "ECDSA", namedCurve: "P-256" }',
    EDDSA: '{ name: "Ed25519" }',
    PS256: '{ name: "RSA-PSS", hash: "SHA-256" }',
}
_JAVA_KEYS = {ES256: "EC", EDDSA: "Ed25519", PS256: "RSA"}
_JAVA_SIGNATURES = {ES256: "SHA256withECDSAinP1363Format", EDDSA: "Ed25519", PS256: "RSASSA-PSS"}
_JAVA_PARAMETERS = {
    PS256: '\n    signature.setParameter(new PSSParameterSpec("SHA-256", "MGF1", MGF1ParameterSpec.SHA256, 32, 1));'
}

_PYTHON = """\
import time
from pathlib import Path
from authlib.integrations.requests_client import OAuth2Session
from authlib.oauth2.rfc7523 import PrivateKeyJWT
from joserfc.jwk import {key_class}

key = {key_class}.import_key(Path("{file}").read_text())

def request_token():
    # Made anew for each token, since an assertion can be used once.
    claims = {{"aud": "{issuer}", "exp": int(time.time()) + 60}}
    method = PrivateKeyJWT(claims=claims, alg="{python_algorithm}")
    with OAuth2Session("{client_id}", key, token_endpoint_auth_method=method) as session:
        return session.fetch_token("{token_url}", grant_type="client_credentials", scope="{scope}")

token = request_token()["access_token"]  # good for {minutes} minutes"""

_NODE = """\
import {{ readFile }} from "node:fs/promises";
import * as client from "openid-client";

const pem = await readFile("{file}", "utf8");
const der = Buffer.from(pem.replaceAll(/-----[^-]+-----/g, ""), "base64");
const key = await crypto.subtle.importKey("pkcs8", der, {node_key}, false, ["sign"]);

const server = await client.discovery(
  new URL("{issuer}"), "{client_id}", undefined, client.PrivateKeyJwt(key),
);
const answer = await client.clientCredentialsGrant(server, {{ scope: "{scope}" }});
const token = answer.access_token; // good for {minutes} minutes"""

_JAVA = """\
import java.net.URI;
import java.net.URLEncoder;
import java.net.http.*;
import java.nio.charset.StandardCharsets;
import java.nio.file.*;
import java.security.*;
import java.security.spec.*;
import java.util.*;

public class Token {{
  static String base64url(byte[] data) {{
    return Base64.getUrlEncoder().withoutPadding().encodeToString(data);
  }}

  public static void main(String[] arguments) throws Exception {{
    String pem = Files.readString(Path.of("{file}")).replaceAll("-----[^-]+-----", "");
    byte[] der = Base64.getMimeDecoder().decode(pem);
    PrivateKey key = KeyFactory.getInstance("{java_key}").generatePrivate(new PKCS8EncodedKeySpec(der));

    long now = System.currentTimeMillis() / 1000;
    String header = "{{\\"alg\\":\\"{algorithm}\\"}}";
    String claims = String.format(
        "{{\\"iss\\":\\"%1$s\\",\\"sub\\":\\"%1$s\\",\\"aud\\":\\"%2$s\\",\\"iat\\":%3$d,\\"exp\\":%4$d,\\"jti\\":\\"%5$s\\"}}",
        "{java_client_id}", "{issuer}", now, now + 60, UUID.randomUUID());
    String signed = base64url(header.getBytes()) + "." + base64url(claims.getBytes());
    Signature signature = Signature.getInstance("{java_signature}");{java_parameters}
    signature.initSign(key);
    signature.update(signed.getBytes());
    String assertion = signed + "." + base64url(signature.sign());

    String form = "grant_type=client_credentials&scope="
        + URLEncoder.encode("{scope}", StandardCharsets.UTF_8)
        + "&client_assertion_type=urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
        + "&client_assertion=" + assertion;
    HttpRequest request = HttpRequest.newBuilder(URI.create("{token_url}"))
        .header("Content-Type", "application/x-www-form-urlencoded")
        .POST(HttpRequest.BodyPublishers.ofString(form)).build();
    System.out.println(HttpClient.newHttpClient().send(request, HttpResponse.BodyHandlers.ofString()).body());
  }}
}}"""


def key_snippets_for(client: IdentityClient) -> Sequence[Snippet]:
    """Return snippets for Python, Node and Java for the newest key that has not ended; none without a key."""
    keys = keys_not_ended(client, utc_now())
    return _snippets(client, keys[-1]) if keys else ()


def _snippets(client: IdentityClient, key: ClientKey) -> Sequence[Snippet]:
    values = {
        "file": f"{environment_prefix().lower()}-private-key.pem",
        "issuer": _quoted(services().settings.issuer),
        "token_url": _quoted(token_url()),
        "client_id": _quoted(client.client_id),
        "scope": _quoted(" ".join(scopes_of(client))),
        "minutes": client.token_duration_minutes,
        "algorithm": key.algorithm,
        # The name of RFC 9864: joserfc warns of the former one.
        "python_algorithm": ED25519 if key.algorithm == EDDSA else key.algorithm,
        "key_class": _PYTHON_KEYS[key.algorithm],
        "node_key": _NODE_KEYS[key.algorithm],
        "java_client_id": _quoted(_quoted(client.client_id)),  # once for JSON, once for Java
        "java_key": _JAVA_KEYS[key.algorithm],
        "java_signature": _JAVA_SIGNATURES[key.algorithm],
        "java_parameters": _JAVA_PARAMETERS.get(key.algorithm, ""),
    }
    return (
        # Translators: name is that of a library, here and below.
        Snippet("Python (Authlib)", gettext("Python code with a key"), _PYTHON.format(**values)),
        Snippet("Node (openid-client)", gettext("Node code with a key"), _NODE.format(**values)),
        Snippet("Java", gettext("Java code with a key"), _JAVA.format(**values)),
    )


def _quoted(text: str) -> str:
    """Return a text for within double quotes, alike in the three languages; it is printable ASCII."""
    return text.replace("\\", "\\\\").replace('"', '\\"')
