"""Feetech STS servos (SO-100, SO-101 and kin) on a half-duplex serial bus."""
