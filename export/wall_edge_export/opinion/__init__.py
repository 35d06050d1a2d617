"""A second opinion on what the exporter read."""
