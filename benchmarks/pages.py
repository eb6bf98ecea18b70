"""Measure the server time of each page of the screens, beside the lists of Flask-Admin and Django admin.

    python -m benchmarks.pages DATABASE_URL [DATABASE_URL ...] [--repeats 15]
        [--peers FOLDER --peers-python INTERPRETER --peers-rows 1000000]

The databases are seeded by `benchmarks.seed`. Each page is requested in process, one at a time; the table has the
minimum and the median. FOLDER has `flaskadmin_app.py` and `dot_seed.py` with `dotproj`, each of which seeds a database
of its own; INTERPRETER has their dependencies.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import uuid
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote, urlencode

from sqlalchemy import make_url, text

from webapp.core.clients.attention import FILTERS
from webapp.core.clients.listing import SORTS, ListQuery, list_clients
from webapp.core.database.engine import make_engine
from webapp.core.database.unit_of_work import read_session

from .seed import ACCOUNT

PREFIX = "/administration/identity-clients"
TIMER = Path(__file__).with_name("wsgi_timer.py")
HTMX = {"HTTP_HX_REQUEST": "true", "HTTP_HX_REQUEST_TYPE": "partial"}
"""What htmx adds to the WSGI environment where it replaces the results only: for every sort, filter and page link."""
Page = tuple[str, str, dict[str, str]]


class Timed(NamedTuple):
    """The measurements of a page."""

    page: str
    minimum_ms: float
    median_ms: float
    status: str
    size_bytes: int


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("urls", nargs="*")
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--peers", type=Path)
    parser.add_argument("--peers-python", default=sys.executable)
    parser.add_argument("--peers-rows", type=int, default=1_000_000)
    given = parser.parse_args()
    tables = {}
    for url in given.urls:
        found = time_pages("benchmarks.pages_host:app", our_pages(url), given.repeats, {"DATABASE_URL": url})
        tables[f"ours, {make_url(url).get_backend_name()}"] = found
    if given.peers:
        with tempfile.TemporaryDirectory() as directory:
            tables |= time_peers(given, Path(directory))
    print("| server | page | minimum ms | median ms | bytes |")
    print("|---|---|--:|--:|--:|")
    for server, rows in tables.items():
        for row in rows:
            note = "" if row.status.startswith("200") else f" ({row.status})"
            print(
                f"| {server} | {row.page}{note} | {row.minimum_ms:.1f} | {row.median_ms:.1f} | {row.size_bytes:,} |",
                flush=True,
            )


def time_pages(
    application: str,
    pages: list[Page],
    repeats: int,
    environment: dict[str, str],
    interpreter: str = sys.executable,
    directory: Path | None = None,
) -> list[Timed]:
    """Return the measurements of each page, taken in a separate process."""
    finished = subprocess.run(
        [interpreter, str(TIMER), application, str(repeats)],
        input=json.dumps(pages),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        cwd=directory or Path(__file__).parent.parent,
        env=os.environ | environment,
    )
    return [Timed(*row) for row in json.loads(finished.stdout)]


def our_pages(url: str) -> list[Page]:
    """Return the pages to time: each sort and each filter of the list, its next page, searches, activity, requests."""
    engine = make_engine(url)
    with engine.connect() as connection:
        row = connection.execute(
            text(
                "SELECT id, client_id, description FROM identity_clients"
                f" WHERE account_id = '{ACCOUNT}' AND deleted_at IS NULL ORDER BY id LIMIT 1 OFFSET 500"
            )
        ).one()
        token_request = connection.execute(
            text(
                "SELECT request_id, address FROM identity_client_token_requests"
                f" WHERE account_id = '{ACCOUNT}' AND outcome = 'issued' ORDER BY at LIMIT 1"
            )
        ).first()
    with read_session(engine) as session:
        cursor = list_clients(session, account_id=ACCOUNT, query=ListQuery()).next_cursor
    engine.dispose()
    key, client_id, contract = str(uuid.UUID(str(row.id))), str(row.client_id), row.description.split()[-1]
    pages = {"list": {}, "next page": {"after": cursor}}
    pages |= {f"sort={sort}": {"sort": sort} for sort in SORTS[1:]}
    pages |= {f"status={status}": {"status": status} for status in ("enabled", "disabled")}
    pages |= {f"role={role}": {"role": role} for role in ("MerchantUser", "ReportViewer", "AccountMovementEditor")}
    pages |= {f"attention={reason}": {"attention": str(reason)} for reason in FILTERS}
    pages |= {"attention=unused&sort=-created_at": {"attention": "unused", "sort": "-created_at"}}
    pages |= {"role=UploadBatches&sort=name": {"role": "UploadBatches", "sort": "name"}}
    pages |= {"status=disabled&sort=name": {"status": "disabled", "sort": "name"}}
    for name, part in {
        "a client ID": client_id,
        "6 characters": client_id.split("-")[1][:6],
        "a contract": contract[:10],
        "a common word": "integration",
        "istanbul": "istanbul",
        "nothing": "qqqqqqqq",
        "two characters": "ql",
    }.items():
        pages[f"search: {name}"] = {"q": part}
    found: list[Page] = [("strip, by htmx", f"{PREFIX}?part=attention", HTMX)]
    for name, arguments in pages.items():
        url = f"{PREFIX}?{urlencode(arguments)}"
        found += [(name, url, {}), (f"{name}, by htmx", url, HTMX)]
    found.append(("details", f"{PREFIX}/{key}", {}))
    activity = {
        "activity": {},
        "activity: person": {"person": "admin-03@northwind.example"},
        "activity: rare action": {"action": "exported"},
        "activity: client": {"client": client_id[:24]},
        "activity: part of many client IDs": {"client": "billing"},
        "activity: days": {"since": "2026-03-01", "until": "2026-03-02"},
    }
    found += [(name, f"{PREFIX}/activity?{urlencode(arguments)}", {}) for name, arguments in activity.items()]
    requests = {
        "requests": {},
        "requests: refused": {"outcome": "refused"},
        "requests: one reason": {"outcome": "disabled"},
        "requests: client": {"client": client_id},
        "requests: secret": {"secret": "B"},
        "requests: a day": {"since": "2026-11-10", "until": "2026-11-10"},
    }
    if token_request is not None:
        requests["requests: request ID"] = {"request_id": token_request.request_id}
        requests["requests: address"] = {"address": token_request.address}
    found += [(name, f"{PREFIX}/requests?{urlencode(arguments)}", {}) for name, arguments in requests.items()]
    return found


def time_peers(given: argparse.Namespace, directory: Path) -> dict[str, list[Timed]]:
    """Seed and time the lists of Flask-Admin and Django admin."""
    rows = given.peers_rows
    needle = f"{rows // 2:07}"
    flask_admin = {"DB": str(directory / "flask-admin.db")}
    django = {"DOT_DB": f"sqlite:{directory / 'django.db'}", "DJANGO_SETTINGS_MODULE": "dotproj.settings"}

    def run(*command: str, **environment: str) -> str:
        return subprocess.run(
            [given.peers_python, *command],
            cwd=given.peers,
            env=os.environ | environment,
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        ).stdout

    run("flaskadmin_app.py", "seed", str(rows), **flask_admin)
    cookie = run("dot_seed.py", "list", str(rows), **django).strip().splitlines()[-1]
    lists = {
        "Flask-Admin": (
            "flaskadmin_app:app",
            flask_admin,
            "/admin/clients/",
            {},
            ("?page={}", "?sort={}", "?search={}"),
        ),
        "Django admin": (
            "dotproj.wsgi:application",
            django,
            "/admin/oauth2_provider/application/",
            {"HTTP_COOKIE": cookie},
            ("?p={}", "?o={}", "?q={}"),
        ),
    }
    found = {}
    for name, (application, environment, path, signed_in, (page, order, search)) in lists.items():
        pages = [
            ("list", path, signed_in),
            ("page at 90 %", path + page.format(rows * 9 // 10 // 50), signed_in),
            ("sort by name", path + order.format(1 if name == "Flask-Admin" else 2), signed_in),
            ("search", path + search.format(quote(needle)), signed_in),
        ]
        found[name] = time_pages(application, pages, given.repeats, environment, given.peers_python, given.peers)
    return found


if __name__ == "__main__":
    main()
