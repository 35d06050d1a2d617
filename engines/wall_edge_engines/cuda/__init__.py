"""NVIDIA GPUs through CUDA's driver: for every backend that computes there."""
