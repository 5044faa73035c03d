"""
Stand in for a ComfyUI 0.28.0 server, where there is no GPU and no model: real protocol, oddities included.

It judges graphs as ComfyUI does, runs the model-free nodes for real with Pillow, draws a picture for graphs that
sample, and keeps ComfyUI's cache, history, queue and WebSocket manners, traps and all.
`tests/edges/test_comfy_standin*` compare it with traffic recorded from real servers.

    python -m sandbox.comfy --port 0 --dir DIR          one line with the URL when it is ready
    with ComfyStandIn(DIR, instant=True) as comfy: ...  in this process, for tests
"""

from sandbox.comfy.standin import ComfyStandIn

__all__ = ["ComfyStandIn"]
