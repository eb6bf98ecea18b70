"""Settings of the stand-alone application for tests."""

PRODUCTION_SETTINGS = {
    "SECRET_KEY": "session-0123456789abcdefghijklmnopqrstuvwxyz",
    "IDENTITY_CLIENTS_ISSUER": "https://localhost",
    "IDENTITY_CLIENTS_AUDIENCE": "https://api.example",
    "IDENTITY_CLIENTS_PEPPER": "1:pepper-0123456789abcdefghijklmnopqrstuvwxyz",
    "IDENTITY_CLIENTS_KEY_ENCRYPTION_KEY": "ZmVkY2JhOTg3NjU0MzIxMGZlZGNiYTk4NzY1NDMyMTA",
}
"""The settings of an operator except the database. The keys are valid, and for tests only."""
