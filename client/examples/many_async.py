"""Make several pictures at once within asyncio, and do other things meanwhile: `python many_async.py`."""

import asyncio

from comfysheet import AsyncComfySheet


async def main() -> None:
    """Make three pictures of the same colour in three sizes."""
    async with AsyncComfySheet() as sheet:
        sizes = (64, 128, 256)
        jobs = [sheet.run("empty-color", color="#da70d6", width=size, height=size) for size in sizes]
        for size, result in zip(sizes, await asyncio.gather(*jobs), strict=True):
            print(await result.outputs[0].save(f"orchid-{size}.png", overwrite=True))


if __name__ == "__main__":
    asyncio.run(main())
