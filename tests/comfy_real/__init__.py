"""The worker against ComfyUI itself, on the CPU, and the same against the stand-in."""
