"""Signed files and the keys behind them: manifest, whitelist, certificate.

Read first: ``trust.py`` (the chain from a master key to a root catalog), then
``signed_text.py`` (the form that they share).
"""
