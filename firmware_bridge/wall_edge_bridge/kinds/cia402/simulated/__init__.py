"""The parts of a simulated CiA 402 drive; ``kinds.cia402.twin`` puts them on a bus."""
