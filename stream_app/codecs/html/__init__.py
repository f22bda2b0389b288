"""HTML -> the text a reader would see.

`tags.py` cuts mark-up into tags and text, `styles.py` says what a tag's styles hide, `tree.py`
where an element that hides ends, and `text.py` puts the text together.
"""

from stream_app.codecs.html.text import Allowance, html_to_text

__all__ = ["Allowance", "html_to_text"]
