"""Access tokens, signing keys, revocation, resource servers."""
