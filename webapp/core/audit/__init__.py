"""The audit log: events, queries, export, signals."""
