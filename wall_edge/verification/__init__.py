"""Whether a bundle on this machine computes what the checkpoint computed when it was exported."""
