"""Registries: one that misbehaves on demand, the real Distribution, certificates."""
