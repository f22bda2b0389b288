"""IMAP for commands: IMAPClient with bounds on what a server may send, and our verbs on top."""
