"""The parts of a raw mail, read from its bytes as mail programs read them.

`headers.py` finds the fields, `words.py` makes text of one and `parameters.py` takes one apart;
`parts.py` is the tree of parts, `transfer.py` and `base64.py` decode a body, `signed.py` opens
what is signed, `reading.py` makes text of the tree, `inline_files.py` and `calendar.py` of special
texts, and `alternatives.py` says which of several forms of one text are read.
"""
