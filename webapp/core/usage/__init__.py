"""Token requests: recorder, writer, queries, recent caller addresses."""
