"""Bundles → TensorRT engines, built on the device that runs them, or ahead of time for one that is not here."""
