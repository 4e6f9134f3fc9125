"""Operators and machinery: everything that touches documents."""
