"""The notifications of an account: targets, and the log of messages."""
