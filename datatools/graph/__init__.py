"""Knowledge graphs of Chinese medicine: read from any common layout, and asked about without a model."""
