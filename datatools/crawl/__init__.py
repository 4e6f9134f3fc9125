"""The crawler: scope, politeness, safety, and a store that survives being killed."""
