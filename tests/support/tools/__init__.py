"""Programs of others, and how to wait for them."""
