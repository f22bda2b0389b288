"""HTML -> the text a reader would see.

`tags.py` cuts mark-up into tags and text. `css.py` reads styles, `lengths.py` and `colours.py`
their values; `styles.py` finds those that apply to a tag, and `hiding.py` says what they hide.
`tree.py` finds where an element that hides ends, and `text.py` puts the text together.
"""

from stream_app.codecs.html.tags import without_tags
from stream_app.codecs.html.text import Allowance, html_to_text

__all__ = ["Allowance", "html_to_text", "without_tags"]
