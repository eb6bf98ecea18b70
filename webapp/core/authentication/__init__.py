"""Authenticate clients and resource servers.

* `authenticator`: by ID and secret
* `key_authenticator`: clients by an assertion that they sign with a registered key (`private_key_jwt`)
* `assertions`, `used_assertions`: parse and check an assertion; remember the used ones
* `verified_secrets`, `legacy_hashes`: what `authenticator` keeps in memory
"""
