"""The screens of token requests."""
