"""Make the clients of an account equal to a JSON file: create the absent ones, change those that differ.

`python examples/clients_as_code.py clients.json` reads a list of clients with the members of the API, and networks;
others are left alone. URL, CLIENT_ID and CLIENT_SECRET are in the environment. New secrets are stored in `secrets/`.
"""

import json
import os
import sys
import uuid
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import requests

URL = os.environ["URL"]
SESSION = requests.Session()


def call(method: str, path: str, body: Any = None, **headers: str) -> requests.Response:
    """Send a request, and return the response. An error ends the run with what the API says."""
    headers["Content-Type"] = "application/merge-patch+json" if method == "PATCH" else "application/json"
    options: Any = {"data": json.dumps(body) if body else None, "headers": headers, "timeout": 30}
    response = SESSION.request(method, f"{URL}/api/identity-clients/v1{path}", **options)
    return response if response.ok else sys.exit(f"{method} {path}: {response.text}")


def apply(wanted: dict[str, Any]) -> str:
    """Make one client equal to its entry; return what was done."""
    networks = [{"label": "", **one, "network": str(ip_network(one["network"]))} for one in wanted.pop("networks", [])]
    wanted["roles"] = sorted(wanted["roles"])
    found = call("GET", "/clients?" + requests.compat.urlencode({"q": wanted["client_id"]})).json()["items"]
    client, done = next((one for one in found if one["client_id"] == wanted["client_id"]), None), []
    if client is None:
        client = call("POST", "/clients", wanted, **{"Idempotency-Key": str(uuid.uuid4())}).json()
        Path("secrets").mkdir(mode=0o700, exist_ok=True)
        Path("secrets", wanted["client_id"]).touch(mode=0o600)
        Path("secrets", wanted["client_id"]).write_text(client["client_secret"])
        done.append("created")
    url = f"/clients/{client['id']}"
    present = call("GET", url)
    changes = {name: value for name, value in wanted.items() if present.json()[name] != value}
    if changes:
        present = call("PATCH", url, changes, **{"If-Match": present.headers["ETag"]})
        done.append("changed " + ", ".join(changes))
    if call("GET", f"{url}/networks").json()["networks"] != networks:
        call("PUT", f"{url}/networks", {"networks": networks}, **{"If-Match": present.headers["ETag"]})
        done.append("set networks")
    return "; ".join(done) or "no difference"


if __name__ == "__main__":
    form = {name.lower(): os.environ[name] for name in ("CLIENT_ID", "CLIENT_SECRET")}
    token = requests.post(f"{URL}/connect/token", data=form | {"grant_type": "client_credentials"}, timeout=30).json()[
        "access_token"
    ]
    SESSION.headers["Authorization"] = f"Bearer {token}"
    for entry in json.loads(Path(sys.argv[1]).read_text()):
        sys.stdout.write(f"{entry['client_id']}: {apply(entry)}\n")
