"""Generated photographs: encoded images of 640 x 480 with boxes, as large as real ones."""

import functools
import io

import numpy as np

WIDTH, HEIGHT, NUM_CLASSES = 640, 480, 20
# How fast amplitude falls with frequency, and its spread in grey levels. What is left of the high
# frequencies is what a JPEG spends its bytes, and a decoder its time, on.
DETAIL = {"smooth": (2.0, 40.0), "detailed": (1.2, 50.0)}


@functools.cache
def generated_jpegs(count, detail="detailed", seed=0):
    """JPEG bytes: about 150 KB each where detailed, as COCO's, and 25 where smooth, as BCCD's."""
    from PIL import Image

    generator = np.random.default_rng(seed)
    frequency = np.hypot(np.fft.fftfreq(HEIGHT)[:, None], np.fft.rfftfreq(WIDTH)[None])
    steepness, spread = DETAIL[detail]
    falling = np.maximum(frequency, 1 / WIDTH) ** -steepness
    encoded = []
    for _ in range(count):
        noise = np.fft.rfft2(generator.normal(size=(3, HEIGHT, WIDTH)))
        waves = np.fft.irfft2(noise * falling, s=(HEIGHT, WIDTH))
        waves = np.array([[1, 0.2, 0.1], [1, -0.1, 0.1], [1, 0, -0.2]]) @ waves.reshape(3, -1)
        pixels = 120 + spread * (waves / waves.std()).T.reshape(HEIGHT, WIDTH, 3)
        file = io.BytesIO()
        Image.fromarray(pixels.clip(0, 255).astype("uint8")).save(file, "JPEG", quality=90)
        encoded.append(file.getvalue())
    return encoded


def generated_boxes(count, num_boxes, seed=0):
    """For each image boxes [n, 4], relative yxyx, sides of 0.04 to 0.5, and labels [n]."""
    generator = np.random.default_rng(seed)
    sizes = np.exp(generator.uniform(np.log(0.04), np.log(0.5), (count, num_boxes, 2)))
    corners = generator.uniform(0, 1 - sizes)
    boxes = np.concatenate([corners, corners + sizes], axis=-1).astype("float32")
    labels = generator.integers(0, NUM_CLASSES, (count, num_boxes)).astype("int32")
    return list(zip(boxes, labels, strict=True))
