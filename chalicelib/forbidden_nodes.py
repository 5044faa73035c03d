"""
Know the node classes that a program's own graph may not use, whatever a worker has installed.

The first fence is that a worker runs only the classes it has, and an operator decides what that is. This is the second
one, by names: ComfyUI's own classes (0.28) and those of widespread custom nodes. Workflows of the catalog may use them.
"""

from __future__ import annotations

import re
from typing import Final

# Partner ("API") nodes spend money elsewhere: vendors as in ComfyUI's comfy_api_nodes, 2026. Workers send no key for
# them and start their ComfyUI with --disable-api-nodes, so none would run; here it is said in a sentence.
_VENDORS: Final = (
    "Anthropic|Beeble|BFL|Bria|ByteDance|Cambai|Claude|Dreamina|ElevenLabs|FalAI|FishAudio|FluxPro|Flux2Pro|"
    "Flux2Max|FluxKontextPro|FluxKontextMax|Gemini|GoogleGemini|Grok|Hailuo|HeyGen|Higgsfield|HitPaw|Ideogram|"
    "Kling|Luma|LtxvApi|Magnific|Meshy|MiniMax|Minimax|Moonvalley|OpenAI|OpenRouter|Pika|Pixverse|Quiver|Recraft|Reve|"
    "Rodin3D|Runway|Seedance|Seedream|SoraVideo|StabilityStable|StabilityUpscale|StabilityAudio|StabilityText|"
    "Tencent|Topaz|Tripo|Veo|Veo3|Vidu|WaveSpeed"
)

_RULES: Final = (
    (
        "needs a paid service elsewhere",
        # A vendor's name ends where the next word begins, so that Reverse, Review and Videoxyz are other words.
        re.compile(rf"^({_VENDORS})(?![a-z])|(API|Api)(Node)?$|^(Wan|Qwen|Ltxv)\w*Api"),
    ),
    ("reads what others made", re.compile(r"LoadImageOutput|^LoadLatent|^Load3D|LoadFromOutput|LastOutput", re.I)),
    (
        "reads or writes files in folders of the machine",
        re.compile(
            r"path$|from ?path|to ?path|by ?path|(from|to|in|save|load|list|batch)_? ?(dir|directory|folder|disk|file)"
            r"|directory|folder|dataset|VHS_Load((Video|Images)(FF)?Path|Images|Audio)$|^Image Save$|^Load Image Batch$"
            r"|(Save|Load|Write|Read)_? ?Text_?( ?File)|^Text (File|List) |SaveImageExtended|SaveImageTo|easy saveText",
            re.I,
        ),
    ),
    (
        "writes models to the disk",
        re.compile(
            r"^(Checkpoint|CLIP|VAE|Model|ImageOnlyCheckpoint|Lora)Save$|^Save(LoRA|Checkpoint|Model)|^Train", re.I
        ),
    ),
    (
        "talks to the network",
        re.compile(
            r"url|http|download|webhook|websocket(?!$)|\brequests?\b|^(Send|Receive|Fetch|Upload)(?!er)|ftp|(?-i:S3)|"
            r"discord|telegram|slack|e-?mail|ollama|chatgpt|LLM_?api|civitai|hugging ?face|HFHub|from ?pretrained",
            re.I,
        ),
    ),
    (
        "runs code",
        re.compile(
            r"exec(ut(e|or))?(?-i:(?![a-z]))|\beval|(?-i:Eval(?![a-z]))|evaluate|python|script|shell|command|subprocess|^IDENode|lambda|pickle"
            r"|math ?expression|\bcode\b|javascript|jinja",
            re.I,
        ),
    ),
)
_ALLOWED: Final = frozenset(
    {
        "SaveImageWebsocket",
        "Ideogram4Scheduler",
        "ComfyMathExpression",
        "SplatToFile3D",
        "TripoSplatPreprocessImage",
        "TripoSplatConditioning",
        "TripoSplatSamplingPreview",
    }
)
"""ComfyUI's own, which only sound like one of those."""


def why_forbidden(node_class: str) -> str:
    """Say what a class does that a graph of a program's own may not, to go on after "it"; empty: nothing known."""
    if node_class in _ALLOWED:
        return ""
    return next((why for why, pattern in _RULES if pattern.search(node_class)), "")
