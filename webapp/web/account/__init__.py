"""The screens of the account as a whole."""
