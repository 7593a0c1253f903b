"""What surrounds a test: a ledger, jobs, the web application, whole services."""
