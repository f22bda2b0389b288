"""Mail of an IMAP account to its route's input topic: read only, each mail once."""
