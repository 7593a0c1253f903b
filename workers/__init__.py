"""The core: policy, ledger, registry client, conversion and publishing.

Usable without the front; never imports ``webhook`` or Flask.
"""
