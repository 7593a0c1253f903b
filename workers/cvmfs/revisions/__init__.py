"""What is kept of earlier revisions: history of tags, reflog, metainfo."""
