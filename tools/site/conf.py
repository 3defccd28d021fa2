"""How Sphinx builds the site: https://www.sphinx-doc.org/en/master/usage/configuration.html."""

from __future__ import annotations

from pathlib import Path
from typing import Final

_HERE: Final = Path(__file__).parent
project = "Customers API"
root_doc = "index"
extensions = ["myst_parser"]
# Show text exactly as it was typed.
smartquotes = False
# The guides show parts of outputs, which are not valid JSON.
suppress_warnings = ["misc.highlighting_failure"]

# Links to headings, as on GitHub.
myst_heading_anchors = 4
# For pictures with a light and a dark version.
myst_enable_extensions = ["attrs_inline"]

html_theme = "furo"
html_title = project
html_favicon = str(_HERE.parents[1] / "docs/page/icon.svg")
html_static_path = [
    str(_HERE / "static"),
    str(_HERE / "node_modules/@mermaid-js/tiny/dist/mermaid.tiny.js"),
]
html_css_files = ["site.css"]
html_js_files = [("diagrams.js", {"defer": "defer"})]
html_copy_source = False
html_show_sourcelink = False
html_show_copyright = False
html_use_index = False
