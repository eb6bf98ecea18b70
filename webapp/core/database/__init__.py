"""The database: engine, unit of work, column types, models, migrations, backup, cursors, fast reads."""
