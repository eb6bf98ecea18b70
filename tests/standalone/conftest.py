"""Fixtures for accounts, users and sign-in of the stand-alone MAS."""

import pytest
from flask import Flask

from tests.support.mas import Mas


@pytest.fixture
def mas(app: Flask) -> Mas:
    """Return the application without accounts or users."""
    return Mas(app)
