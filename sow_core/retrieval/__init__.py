"""Composed retrieval: the picture of a folder that is like this one, but as the words say (after CompoDiff,
arXiv 2303.11916): encoders, index, fusion, and a diffusion prior in the embedding space."""
