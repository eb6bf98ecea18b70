"""Load our templates without their indentation, and so that they render the same in every host."""

import re
from collections.abc import Callable

from jinja2 import Environment, FileSystemLoader

_INDENTATION = re.compile(r"^[ \t]+", re.MULTILINE)
_TAG_AT_END_OF_LINE = re.compile(r"(?<![-+])%}$", re.MULTILINE)


class UnindentingLoader(FileSystemLoader):
    """Load templates from a folder without the white space at the beginning of their lines.

    Only the source of a template loses it, never a value that is filled in. Line breaks stay, also behind a tag where
    the host's environment has `trim_blocks`, since some of them separate attributes or words; so line numbers in error
    messages are those of the file. The host's environment and its own templates are left alone.
    """

    def get_source(self, environment: Environment, template: str) -> tuple[str, str, Callable[[], bool]]:
        """Return source, file name, and a function that says whether the source is up to date.

        :raises jinja2.TemplateNotFound: the folder has no such template.
        """
        source, filename, is_up_to_date = super().get_source(environment, template)
        return _TAG_AT_END_OF_LINE.sub("+%}", _INDENTATION.sub("", source)), filename, is_up_to_date
