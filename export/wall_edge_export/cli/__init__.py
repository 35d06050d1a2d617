"""The exporter's commands, plugged into ``wall-edge``."""
