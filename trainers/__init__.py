"""Training, thin over TRL."""
