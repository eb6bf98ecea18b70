"""Authenticate clients and resource servers by ID and secret.

* `authenticator`: the only module that other packages import
* `verified_secrets`, `legacy_hashes`: what it keeps in memory
"""
