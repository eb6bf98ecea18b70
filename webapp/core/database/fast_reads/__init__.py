"""Run a few compiled SELECTs on the driver itself, for the token endpoint, which makes one on every request.

The interface is `FastReads.prepare`, which compiles a `select()` once, and `FastReads.rows`, which runs it.
There is one INSERT too, which a token request with a key makes (`FastReads.prepare_insert`).

What it buys, as measured in benchmarks/README.md: a read takes 11 us on SQLite where `Connection.execute` takes 76, and
on PostgreSQL one wait on libpq gives about a quarter more tokens a second than psycopg's cursor, which waits in steps.

To do without it, replace the body of `FastReads.rows` by `Connection.execute` of the same statement on the engine, and
delete this package's other modules: every caller passes a `select()` or `insert()` and named parameters, and reads rows
by position.
"""

from .reads import FastReads, PreparedStatement

__all__ = ["FastReads", "PreparedStatement"]
