"""A small fine-tune that keeps two or more things of a prompt apart (after arXiv 2312.06712): keys only, no data."""
