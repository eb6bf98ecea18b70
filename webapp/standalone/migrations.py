"""The stand-alone's own line of revisions."""

from ..core.migrate import History, folder
from .models import Base

MAS = History(folder("migrations") / "standalone", Base.metadata, "mas_alembic_version")
