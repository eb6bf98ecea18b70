"""PostgreSQL databases for tests: emptied and reused, since creating one takes 0.1 s."""

import contextlib
import uuid
from collections.abc import Iterator

import psycopg
from sqlalchemy import Engine, text

from webapp.core.database import migrations
from webapp.standalone.migrations import MAS

# All that a test could have changed except rows: a database with another fingerprint is not reused.
FINGERPRINT = """
    SELECT md5(string_agg(line, chr(10) ORDER BY line)) FROM (
        SELECT concat_ws(' ', c.relname, c.relkind, c.relpersistence, c.relowner, c.relacl) line
            FROM pg_class c WHERE c.relnamespace = 'public'::regnamespace
        UNION ALL SELECT concat_ws(' ', a.attrelid::regclass, a.attname, a.atttypid, a.atttypmod, a.attnotnull,
                a.attnum, pg_get_expr(d.adbin, d.adrelid))
            FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
            LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
            WHERE c.relnamespace = 'public'::regnamespace AND a.attnum > 0
        UNION ALL SELECT concat_ws(' ', conrelid::regclass, conname, pg_get_constraintdef(oid))
            FROM pg_constraint WHERE connamespace = 'public'::regnamespace
        UNION ALL SELECT pg_get_indexdef(i.indexrelid) FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid
            WHERE c.relnamespace = 'public'::regnamespace
        UNION ALL SELECT concat_ws(' ', pg_get_triggerdef(oid), tgenabled) FROM pg_trigger WHERE NOT tgisinternal
        UNION ALL SELECT prosrc FROM pg_proc WHERE pronamespace = 'public'::regnamespace
        UNION ALL SELECT concat_ws(' ', 'analysed', starelid::regclass) FROM pg_statistic
            WHERE starelid IN (SELECT oid FROM pg_class WHERE relnamespace = 'public'::regnamespace)
        UNION ALL SELECT concat_ws(' ', 'schema', nspname, nspacl) FROM pg_namespace WHERE nspname !~ '^pg_'
        UNION ALL SELECT concat_ws(' ', 'set', setconfig) FROM pg_db_role_setting
    ) lines
"""
OTHERS = "FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
USES_MAX = 100
"""A database is replaced after this many tests, since nothing is vacuumed."""


class Databases:
    """The databases of one process that runs tests.

    :param server: an engine for the maintenance database, outside transactions.
    :param template: the name of a migrated database.
    """

    def __init__(self, server: Engine, template: str) -> None:
        self._server = server
        self._template = template
        self._free: list[_Database] = []

    @contextlib.contextmanager
    def lend(self) -> Iterator[str]:
        """Lend the name of a database that equals its template."""
        database = self._free.pop() if self._free else self._create()
        yield database.name
        if database.reset():
            self._free.append(database)
        else:
            self._drop(database)

    def close(self) -> None:
        """Drop all databases."""
        while self._free:
            self._drop(self._free.pop())

    def _create(self) -> "_Database":
        name = f"test_{uuid.uuid4().hex}"
        with self._server.connect() as connection:
            connection.execute(text(f"CREATE DATABASE {name} TEMPLATE {self._template}"))
        url = self._server.url.set(drivername="postgresql", database=name)
        return _Database(name, url.render_as_string(hide_password=False))

    def _drop(self, database: "_Database") -> None:
        database.connection.close()
        with self._server.connect() as connection:
            connection.execute(text(f"DROP DATABASE IF EXISTS {database.name} WITH (FORCE)"))


class _Database:
    def __init__(self, name: str, url: str) -> None:
        self.name = name
        self.connection = psycopg.connect(url, autocommit=True)
        self.connection.execute("SET session_replication_role = replica")  # no trigger or foreign key is checked
        self._uses = 0
        self._fingerprint = self._value(FINGERPRINT)
        tables = self._value(
            "SELECT string_agg(format('DELETE FROM %I', tablename), ';') FROM pg_tables"
            " WHERE schemaname = 'public' AND tablename !~ 'alembic_version'"
        )
        self._empty = str(tables)

    def reset(self) -> bool:
        """Empty the database; return whether it can be reused."""
        self._uses += 1
        try:
            self._value(f"SELECT count(pg_terminate_backend(pid, 1000)) {OTHERS}")
            if self._uses >= USES_MAX or self._value(FINGERPRINT) != self._fingerprint:
                return False
            self.connection.execute(self._empty)
        except psycopg.Error:  # a test has ended all connections, or dropped the database
            return False
        return True

    def _value(self, query: str) -> object:
        row = self.connection.execute(query).fetchone()
        assert row
        return row[0]


def migrate_everything(engine: Engine) -> None:
    """Upgrade our tables and the stand-alone's."""
    migrations.upgrade(engine)
    migrations.upgrade(engine, history=MAS)
