"""Complete lists of tags and repositories, page by page."""
