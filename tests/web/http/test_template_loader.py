"""The template loader: the white space that it removes, so that the page is the same in every host (W13)."""

import os
from pathlib import Path
from typing import Any

import pytest
from jinja2 import Environment

from webapp.web.http.template_loader import UnindentingLoader

SOURCE = """\
{# Parameters: none. #}
<p
  class="a"
  {% if required %}required{% endif %}
  {% if disabled %}disabled{% endif %}
>
\t  {% if required %}
    <b>one</b>
  {% endif %}
  {{ value }}
  {%- if required -%}
    two
  {%- endif %}
</p>
<pre>{{ value }}</pre>
<textarea>
{{ value }}</textarea>
"""
RENDERED = """
<p
class="a"
required
disabled
>

<b>one</b>

  first
  second
two
</p>
<pre>  first
  second
</pre>
<textarea>
  first
  second
</textarea>"""


def environment(folder: Path, **options: Any) -> Environment:
    """Return an environment like a host's, with one template in the directory."""
    (folder / "page.html").write_text(SOURCE, "utf-8")
    return Environment(loader=UnindentingLoader(folder), autoescape=True, **options)


@pytest.mark.parametrize("trim_blocks", [False, True])
@pytest.mark.parametrize("lstrip_blocks", [False, True])
def test_lines_lose_their_indentation_and_values_keep_theirs(
    tmp_path: Path, trim_blocks: bool, lstrip_blocks: bool
) -> None:
    page = environment(tmp_path, trim_blocks=trim_blocks, lstrip_blocks=lstrip_blocks).get_template("page.html")
    shown = page.render(required=True, disabled=True, value="  first\n  second\n")
    assert shown.removeprefix("\n") == RENDERED.removeprefix("\n")


def test_an_error_names_the_line_of_the_file(tmp_path: Path) -> None:
    jinja = environment(tmp_path)
    (tmp_path / "broken.html").write_text("<p>\n  <b>\n    {{ 1 // 0 }}\n  </b>\n</p>\n", "utf-8")
    with pytest.raises(ZeroDivisionError) as raised:
        jinja.get_template("broken.html").render()
    assert raised.traceback[-1].lineno + 1 == 3


def test_a_template_that_changes_is_loaded_again(tmp_path: Path) -> None:
    jinja = environment(tmp_path)
    assert "one" in jinja.get_template("page.html").render(required=True, disabled=False, value="")
    (tmp_path / "page.html").write_text("  changed", "utf-8")
    os.utime(tmp_path / "page.html", (0, 0))
    assert jinja.get_template("page.html").render() == "changed"
