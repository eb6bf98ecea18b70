"""Accounts, users and signing in for the tests of the stand-alone MAS."""

import pytest
from flask import Flask

from tests.support.mas import Mas


@pytest.fixture
def mas(app: Flask) -> Mas:
    """Return the application, without account or user."""
    return Mas(app)
