"""Who we are to a registry: challenges, tokens, configured accesses."""
