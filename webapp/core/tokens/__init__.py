"""Access tokens.

* `access_tokens`: issue and verify tokens
* `signing_keys`, `signing`: the signing keys, their rotation and storage
* `revocation`: revoke one token, and look up the status of a token; `client_changes` revokes all of a client's
* `resource_servers`: the APIs that may introspect every token
"""
