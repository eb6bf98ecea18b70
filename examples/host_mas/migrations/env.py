from alembic import context

from webapp import create_app
from webapp.models import db

app = create_app()


def include_object(_item, name, kind, _reflected, _compare_to):
    return kind != "table" or not name.startswith("identity_client")


with app.app_context(), db.engine.connect() as connection:
    context.configure(connection=connection, target_metadata=db.metadata, include_object=include_object)
    with context.begin_transaction():
        context.run_migrations()
