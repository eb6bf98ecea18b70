"""The screens of client secrets."""
