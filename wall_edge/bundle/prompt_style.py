"""What a policy's prompts are worded like; ``policies.prompt_text`` has the words."""

from __future__ import annotations

from typing import Literal

Wording = Literal["lerobot", "upstream", "wall-edge", "wall-oss-0.5"]
"""Whose words a policy was trained on."""
ActionSpace = Literal["Abs EEF", "Rel EEF"]
"""What a system turn that describes the robot calls its actions: poses, or offsets of poses."""
