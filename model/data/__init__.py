"""Training data: patches in folders and zips, large images and tile pyramids, and their faults."""
