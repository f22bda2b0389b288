"""Sending: the producers behind a route's guarantee, idempotent or transactional."""
