"""Client secrets and public keys.

* `generation`: generate secrets, and hold one in clear text
* `policy`: which secrets are valid, and which are weak
* `hashing`, `argon2_pool`: hash and verify secrets
* `service`: set and rotate the secrets of a client
* `lifecycle`: end, pause or resume one secret, and set its end date
* `available_actions`, `errors`: which actions are possible, refused, or to be confirmed
* `public_keys`, `signatures`, `keys`: read public keys; verify signatures by them; add one to a client
* `client_secrets`: read the secrets and keys of a client
"""
