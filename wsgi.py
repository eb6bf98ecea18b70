"""The stand-alone application for any WSGI server: `wsgi:app`. Settings come from the environment."""

import sys

from webapp.settings import SettingsError
from webapp.standalone import create_app, logs

logs.configure()
try:
    app = create_app()
except SettingsError as error:
    sys.exit(f"Identity Clients does not start. {error}")
