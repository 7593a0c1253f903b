"""Repositories with one thing wrong each."""
