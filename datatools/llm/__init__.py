"""Calling language models: journal, limits, error classes, providers."""
