"""The documentation site and the man pages: `make docs`, `make man`.

The pages of docs/ and the READMEs as they are, and references that are made of the code.
"""
