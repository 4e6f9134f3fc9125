"""Checks of generated text that need no model."""
