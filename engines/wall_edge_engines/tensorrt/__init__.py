"""Bundles on NVIDIA GPUs: engines that ``wall-edge build`` left are loaded and run here."""
