"""Schemathesis against the server of `make run`: every check, on data made of the OpenAPI document."""

import json
import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

from tests.support import servers
from tests.support.api import API_CATALOGUE, PREFIX, allow_api, make_caller
from tests.support.factories import PEPPER_SETTING, SECRET, make_account
from tests.support.identity import request_token
from webapp.api.resources import RESOURCES
from webapp.core.database.engine import make_engine

FOLDER = Path(__file__).parent / "schemathesis"
UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f-]{27}")


def test_schemathesis_finds_no_mismatch_and_no_5xx(tmp_path: Path) -> None:
    """With examples, limits of each value, fuzzing, and sequences along the links of the document (I8)."""
    settings = {
        "IDENTITY_CLIENTS_PEPPER": PEPPER_SETTING,
        "IDENTITY_CLIENTS_API_REQUESTS_PER_CLIENT_AND_MINUTE": "1000000",
    }
    with servers.serve(tmp_path, **settings) as server:
        engine = make_engine(server.database_url)
        make_account(engine, "fuzz")
        allow_api(engine, "fuzz")
        make_caller(engine, "fuzz-deployer", account_id="fuzz", roles=list(API_CATALOGUE))
        engine.dispose()
        token = request_token(server.url, "fuzz-deployer", SECRET).json()["access_token"]
        command = [str(Path(sys.executable).with_name("st")), "--config-file", str(FOLDER / "schemathesis.toml"), "run"]
        command += [f"{server.url}{PREFIX}/openapi.json", "--header", f"Authorization: Bearer {token}"]
        command += ["--checks", "all", "--max-examples", "15", "--seed", "1"]
        hooks = {"SCHEMATHESIS_HOOKS": "hooks", "PYTHONPATH": str(FOLDER), "NO_COLOR": "1"}
        done = subprocess.run(
            command, cwd=tmp_path, env=os.environ | hooks, capture_output=True, text=True, timeout=300
        )
    assert done.returncode == 0, done.stdout[-10_000:] + done.stderr
    assert f"Tested: {sum(len(operations) for _, _, operations in RESOURCES)}" in done.stdout
    requests = [json.loads(line) for line in server.log.read_text().splitlines() if '"status":' in line]
    seen = Counter((each["method"], UUID.sub("*", each["path"]), each["status"]) for each in requests)
    assert [request for request in seen if request[2] >= 500] == []
    written = {(method, path.removeprefix(PREFIX)) for method, path, status in seen if status in (200, 201, 204)}
    assert ("POST", "/clients") in written, "else it has tried errors only"
