"""Generates four people, shows how far they are, and saves them."""

import denoised

with denoised.Client() as client:
    events = client.generate(
        model="emoji-32",
        class_label="people",
        count=4,
        seed=117,
        sampler="dpmpp_2m",
        steps=20,
        guidance_scale=3,
    )
    for event in denoised.progress_bar(events):
        match event:
            case denoised.Accepted(generation=name, seed=seed):
                print(f"{name} has the seed {seed}")
            case denoised.Image(image_index=index, pil=picture):
                picture.save(f"image-{index}.png")
