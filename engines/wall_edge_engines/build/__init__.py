"""Bundles → TensorRT engines: on the device that runs them, or ahead of time for one that is elsewhere."""
