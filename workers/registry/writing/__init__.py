"""Putting images into a registry and taking them out."""
