"""Notices to the host."""
