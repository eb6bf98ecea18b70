"""The screens of token requests, the token preview, and Revoke tokens."""
