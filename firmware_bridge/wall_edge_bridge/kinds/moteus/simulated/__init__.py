"""The parts of a simulated moteus; ``kinds.moteus.twin`` puts them on a bus."""
