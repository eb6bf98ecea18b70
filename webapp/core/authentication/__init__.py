"""Authenticate clients by ID and secret."""
