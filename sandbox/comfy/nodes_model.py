"""
Stand in for the nodes that need models: keep what they were told, tick like a sampler, and draw a picture at the end.

The picture is decided by prompt text, negative text, seed, size, model and LoRAs (`picture.py`), so that a person who
changes one of them sees a change, and the same row gives the same picture again.
"""

from __future__ import annotations

from dataclasses import replace

from PIL import Image

from sandbox.comfy.cooks import node
from sandbox.comfy.kitchen import Kitchen, Preview
from sandbox.comfy.picture import paint
from sandbox.comfy.values import Conditioning, Guider, Latent, Model, Named, Pictures, Recipe, Result, Sigmas

PREVIEW_PX = 512  # ComfyUI's --preview-size


@node("CheckpointLoaderSimple")
def load_checkpoint(ckpt_name: str) -> Result:
    """Open a checkpoint: model, text encoder and VAE in one file."""
    return Result((Model(ckpt_name), Named(ckpt_name), Named(ckpt_name)))


@node("UNETLoader")
def load_unet(unet_name: str) -> Result:
    """Open a diffusion model."""
    return Result((Model(unet_name),))


@node("VAELoader")
def load_vae(vae_name: str) -> Result:
    """Open a VAE."""
    return Result((Named(vae_name),))


@node("CLIPLoader")
def load_clip(clip_name: str) -> Result:
    """Open a text encoder."""
    return Result((Named(clip_name),))


@node("DualCLIPLoader")
def load_two_clips(clip_name1: str, clip_name2: str) -> Result:
    """Open two text encoders as one."""
    return Result((Named(f"{clip_name1}+{clip_name2}"),))


@node("LoraLoader")
def load_lora(model: Model, clip: Named, lora_name: str, strength_model: float) -> Result:
    """Lay a LoRA over model and text encoder."""
    return Result((replace(model, loras=(*model.loras, (lora_name, strength_model))), clip))


@node("LoraLoaderModelOnly")
def load_lora_model_only(model: Model, lora_name: str, strength_model: float) -> Result:
    """Lay a LoRA over the model."""
    return Result((replace(model, loras=(*model.loras, (lora_name, strength_model))),))


@node("CLIPSetLastLayer")
def set_clip_layer(clip: Named) -> Result:
    """Change nothing that can be seen here."""
    return Result((clip,))


@node("ModelSamplingFlux")
@node("ModelSamplingSD3")
def set_sampling(model: Model) -> Result:
    """Change nothing that can be seen here."""
    return Result((model,))


@node("CLIPTextEncode")
def encode_text(text: str) -> Result:
    """Keep the prompt's text."""
    return Result((Conditioning(text),))


@node("CLIPTextEncodeFlux")
def encode_text_flux(clip_l: str, t5xxl: str) -> Result:
    """Keep the prompt's text; the long one counts."""
    return Result((Conditioning(t5xxl or clip_l),))


@node("CLIPTextEncodeSDXL")
def encode_text_sdxl(text_g: str, text_l: str) -> Result:
    """Keep the prompt's text; the general one counts."""
    return Result((Conditioning(text_g or text_l),))


@node("ConditioningCombine")
def combine(conditioning_1: Conditioning, conditioning_2: Conditioning) -> Result:
    """Ask for both texts."""
    return Result((Conditioning(f"{conditioning_1.text}, {conditioning_2.text}"),))


@node("ConditioningZeroOut")
def zero_out() -> Result:
    """Forget the text."""
    return Result((Conditioning(""),))


@node("FluxGuidance")
def flux_guidance(conditioning: Conditioning) -> Result:
    """Change nothing that can be seen here."""
    return Result((conditioning,))


@node("EmptyLatentImage")
@node("EmptySD3LatentImage")
def empty_latent(width: int, height: int, batch_size: int) -> Result:
    """Start from nothing. Latents are multiples of 8 pixels, as in ComfyUI."""
    return Result((Latent(width // 8 * 8, height // 8 * 8, batch_size),))


@node("VAEEncode")
def vae_encode(pixels: Pictures) -> Result:
    """Start from pictures."""
    width, height = pixels[0].size
    return Result((Latent(width // 8 * 8, height // 8 * 8, len(pixels), base=pixels),))


@node("VAEDecode")
def vae_decode(samples: Latent) -> Result:
    """Draw what was sampled, over what was there."""
    return Result((Pictures(_decoded(samples, index) for index in range(samples.batch)),))


def _decoded(latent: Latent, index: int) -> Image.Image:
    size = (latent.width, latent.height)
    base = latent.base[index % len(latent.base)].convert("RGB").resize(size) if latent.base else None
    if latent.recipe is None:
        return base or Image.new("RGB", size, (127, 127, 127))
    drawn = paint(replace(latent.recipe, seed=latent.recipe.seed + index), size)
    return Image.blend(base, drawn, latent.denoise) if base else drawn


def _sample(kitchen: Kitchen, latent: Latent, recipe: Recipe, steps: int, denoise: float) -> Latent:
    """Take the time of *steps* steps, telling how far it is, and give the latent with the recipe on it."""
    sampled = replace(latent, recipe=recipe, denoise=denoise)
    sketch = _sketch(sampled) if kitchen.wants_previews else None
    bar = kitchen.bar(steps)
    for step in range(1, steps + 1):
        kitchen.sleep(kitchen.step_s)
        bar.tick(step, Preview("JPEG", sketch, PREVIEW_PX) if sketch else None)
    return sampled


def _sketch(latent: Latent) -> Image.Image:
    """Draw the picture small, as the latent preview is: an eighth of its size."""
    assert latent.recipe
    return paint(latent.recipe, (max(8, latent.width // 8), max(8, latent.height // 8)))


@node("KSampler")
def ksampler(
    kitchen: Kitchen,
    model: Model,
    seed: int,
    steps: int,
    positive: Conditioning,
    negative: Conditioning,
    latent_image: Latent,
    denoise: float,
) -> Result:
    """Sample."""
    recipe = Recipe(positive.text, negative.text, seed, model)
    return Result((_sample(kitchen, latent_image, recipe, steps, denoise),))


@node("KSamplerAdvanced")
def ksampler_advanced(
    kitchen: Kitchen,
    model: Model,
    noise_seed: int,
    steps: int,
    positive: Conditioning,
    negative: Conditioning,
    latent_image: Latent,
    start_at_step: int,
    end_at_step: int,
) -> Result:
    """Sample some of the steps."""
    recipe = Recipe(positive.text, negative.text, noise_seed, model)
    taken = max(1, min(end_at_step, steps) - start_at_step)
    return Result((_sample(kitchen, latent_image, recipe, taken, min(1.0, taken / steps)),))


@node("KSamplerSelect")
def select_sampler(sampler_name: str) -> Result:
    """Name a sampler."""
    return Result((Named(sampler_name),))


@node("BasicScheduler")
def basic_scheduler(steps: int, denoise: float) -> Result:
    """Plan the steps."""
    return Result((Sigmas(steps, denoise),))


@node("RandomNoise")
def random_noise(noise_seed: int) -> Result:
    """Name a seed."""
    return Result((noise_seed,))


@node("BasicGuider")
def basic_guider(model: Model, conditioning: Conditioning) -> Result:
    """Say what to draw."""
    return Result((Guider(model, conditioning.text),))


@node("CFGGuider")
def cfg_guider(model: Model, positive: Conditioning, negative: Conditioning) -> Result:
    """Say what to draw and what to avoid."""
    return Result((Guider(model, positive.text, negative.text),))


@node("SamplerCustomAdvanced")
def sampler_custom(kitchen: Kitchen, noise: int, guider: Guider, sigmas: Sigmas, latent_image: Latent) -> Result:
    """Sample, in the parts that Flux workflows use."""
    recipe = Recipe(guider.positive, guider.negative, noise, guider.model)
    sampled = _sample(kitchen, latent_image, recipe, sigmas.steps, sigmas.denoise)
    return Result((sampled, sampled))
