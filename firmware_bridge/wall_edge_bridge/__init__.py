"""The wire to the motors: transports, protocols, drives and their simulated twins."""
