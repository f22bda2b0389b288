"""The dashboard: label and dead-letter topics -> windowed counts -> one page that moves."""
