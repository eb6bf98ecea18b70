"""The migrations of the stand-alone's tables."""

from ..core.database.migrations import MigrationHistory
from ..core.paths import resource_folder
from .models import Base

MAS = MigrationHistory(resource_folder("migrations") / "standalone", Base.metadata, "mas_alembic_version")
