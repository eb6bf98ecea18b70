"""The rules of identity clients. Knows SQLAlchemy and cryptography, no web framework."""
