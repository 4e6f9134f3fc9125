"""Cleaning: normalisation, language, passages."""
