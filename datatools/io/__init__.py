"""Readers (one module a format), encoding detection, atomic writers."""
