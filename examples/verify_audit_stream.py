"""Verify a file of `stream-audit` without our code: python verify_audit_stream.py audit.jsonl jwks.json.

jwks.json is a copy of the published key set from the time of the first checkpoint in the file. It needs only joserfc.
"""

import hashlib
import json
import sys
from pathlib import Path

from joserfc import jws
from joserfc.jwk import ECKey

wrong, chains, hashes, checkpoints = [], {}, {}, []
trusted = {key["kid"] for key in json.loads(Path(sys.argv[2]).read_text("utf-8"))["keys"]}
for number, line in enumerate(Path(sys.argv[1]).read_text("utf-8").split("\n"), 1):
    event = json.loads(line or "{}")
    if "raw_data" not in event:
        continue  # from before events had hashes
    raw = json.loads(event["raw_data"])
    digest = hashlib.sha256(event["raw_data"].encode()).hexdigest()
    key = raw["account_id"], raw["position"]
    if digest != event["raw_data_hash"]["value"] or raw["changes"] != event["unmapped"]["changes"]:
        wrong.append(f"line {number}: the event was changed")
    if hashes.setdefault(key, digest) != digest:
        wrong.append(f"line {number}: another event at position {key[1]}")
    chains.setdefault(key[0], {})[key[1]] = raw["previous"], digest
    if raw["action"] == "checkpoint signed":
        text = raw["changes"]["checkpoint"][1]
        header = jws.extract_compact(text.encode()).headers()
        public = ECKey.import_key(header["jwk"])
        payload = json.loads(jws.deserialize_compact(text, public, algorithms=["ES256"]).payload)
        if header["kid"] not in trusted or public.thumbprint() != header["kid"]:
            wrong.append(f"line {number}: the key {header['kid']} is unknown")
        else:
            trusted.update(payload["keys"])
        checkpoints.append((number, payload))
for number, payload in checkpoints:  # at the end, since lines of several hosts may come in another order
    if hashes.get((payload["account_id"], payload["position"])) != payload["hash"]:
        wrong.append(f"line {number}: the checkpoint is not of the event at position {payload['position']}")
for account, events in chains.items():
    for position in range(min(events) + 1, max(events) + 1):
        if position not in events:
            wrong.append(f"{account}: no event at position {position}")
        elif position - 1 in events and events[position][0] != events[position - 1][1]:
            wrong.append(f"{account}: the event at position {position} does not follow the one before")
sys.stdout.write("\n".join(wrong or [f"{len(hashes)} events are whole."]) + "\n")
sys.exit(bool(wrong))
