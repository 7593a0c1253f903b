"""One request to one checked address, and what its answer means."""
