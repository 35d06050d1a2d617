"""Inference backends behind one contract."""
