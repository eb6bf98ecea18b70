"""Reads for the token endpoint, below SQLAlchemy."""
