"""Write events, change them behind the product's back, and verify their chains."""

from collections.abc import Iterable
from typing import Any

from sqlalchemy import Engine, select, text

from tests.support.factories import ACCOUNT, make_author
from webapp.core.audit.actions import Action
from webapp.core.audit.chain import canonical_text, hash_of
from webapp.core.audit.events import record_event
from webapp.core.checkpoints.verification import ChainVerifier, Verified
from webapp.core.database.models import AuditEvent
from webapp.core.database.unit_of_work import read_session, unit_of_work


def record(engine: Engine, count: int = 1, account_id: str = ACCOUNT) -> None:
    """Record events of an account in one transaction."""
    with unit_of_work(engine) as session:
        for number in range(count):
            record_event(session, make_author(account_id), Action.EDITED, None, {"name": ["", f"ü\u2028{number}\n"]})


def verify(engine: Engine, account_id: str = ACCOUNT) -> tuple[list[str], Verified]:
    """Return what is wrong with a chain, and how much was verified."""
    verifier = ChainVerifier(engine)
    return list(verifier.verify(account_id)), verifier.verified


def compare(engine: Engine, lines: Iterable[str]) -> list[str]:
    """Return where the database differs from these lines."""
    return list(ChainVerifier(engine).compare(lines, None))


def tamper(engine: Engine, *statements: str, **values: Any) -> None:
    """Run statements as somebody who owns the database."""
    with engine.begin() as connection:
        if engine.dialect.name == "postgresql":
            connection.execute(text("SET LOCAL session_replication_role = replica"))
        else:
            for name in ("update", "delete", "hash"):
                connection.execute(text(f"DROP TRIGGER IF EXISTS identity_client_events_{name}"))
        for statement in statements:
            wanted = {name: value for name, value in values.items() if f":{name}" in statement}
            connection.execute(text(statement), wanted)


def places(engine: Engine, account_id: str = ACCOUNT) -> list[Any]:
    """Return the rows of an account's hashes in order."""
    with engine.connect() as connection:
        statement = "SELECT * FROM identity_client_event_hashes WHERE account_id = :account ORDER BY position"
        return list(connection.execute(text(statement), {"account": account_id}))


def forge(engine: Engine, position: int, actor: str, account_id: str = ACCOUNT) -> None:
    """Change the actor of one event, and compute all hashes from there on again, as anybody can who has the code."""
    rows = [row for row in places(engine, account_id) if row.position >= position]
    tamper(engine, "UPDATE identity_client_events SET actor_id = :a WHERE id = :id", a=actor, id=rows[0].event_id)
    previous = rows[0].previous_hash
    with read_session(engine) as session:
        events = {event.id.hex: event for event in session.scalars(select(AuditEvent))}
    for row in rows:
        new = hash_of(canonical_text(events[str(row.event_id).replace("-", "")], row.position, previous))
        tamper(
            engine,
            "UPDATE identity_client_event_hashes SET hash = :new, previous_hash = :before WHERE event_id = :id",
            "UPDATE identity_client_event_chains SET hash = :new WHERE account_id = :account",
            new=new,
            before=previous,
            id=row.event_id,
            account=account_id,
        )
        previous = new
