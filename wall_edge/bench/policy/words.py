"""What each row of the report times, in words: from where to where, and where it waits for the device."""

from __future__ import annotations

FRAMES = "one uint8 frame a camera, as it comes, and the joints [rad]"

TIMED = {
    "chunk": f"from {FRAMES}, to the chunk's positions [rad]: everything below and the host's share; "
    "the policy waits once, for the actions",
    "chunk_words": f"from {FRAMES}, to the chunk's positions [rad]: everything below, as many words as the "
    "model says, the host's share; waits for every word",
    "vision": "from frames in the host's memory to the image tokens on the device, resizing included; "
    "waits for the tokens",
    "prefix": "the prompt's keys/values, in two runs as on the robot (what every prompt shares, then the "
    "words behind it); waits for both",
    "action_loop": "from noise on the host to the actions on the host, all integration steps as one "
    "operation of the engine; waits for the actions",
    "step": "the action loop over its number of steps",
    "action_word": "the prefix for one more token and the vocabulary head, to its id "
    "on the host; waits for the id",
    "host": "what is left of a chunk whose stages are timed: checks, the prompt, the state, noise, positions",
    "word": "the prefix for one more token and the vocabulary head, to its id on the "
    "host, while no chunk is computed; waits for the id",
    "lm_head": "of that, the vocabulary head alone; waits for the id",
}
"""By row; ``chunk_words`` is the chunk of a FAST policy."""

TITLES = {
    "chunk": "end to end",
    "vision": "vision",
    "prefix": "prefix",
    "action_loop": "action loop",
    "step": "one step",
    "action_word": "one word of the chunk",
    "host": "host",
    "word": "one word of a subgoal",
    "lm_head": "its vocabulary head",
}
"""In the order in which they are shown."""

STAGES_APART = (
    "stages are timed in chunks of their own, which wait behind every stage: their sum may exceed end to end"
)
FLOOR = "floor: the bytes and products of each run at the target's ceilings, no launch, nothing element-wise"
