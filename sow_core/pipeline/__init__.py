"""From pictures, masks and words to finished pictures: what `generate`, the Python face and batches share."""
