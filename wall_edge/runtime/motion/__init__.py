"""From chunks to setpoints within limits."""
