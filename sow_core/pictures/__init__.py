"""Picture files and drawing: reading, contact sheets, boxes, pasting. Knows nothing of the method."""
