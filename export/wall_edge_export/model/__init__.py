"""WALL-OSS as torch modules: vision tower, decoder with hard-routed experts, action head."""
