"""Stages of the model as ONNX graphs."""
