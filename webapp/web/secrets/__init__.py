"""The screens of client secrets and public keys."""
