"""LoRA adapters of PEFT: what is read of them, and how they are merged."""
