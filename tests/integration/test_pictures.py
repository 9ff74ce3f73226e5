"""Pictures: what each becomes before the network sees it. The daemon here serves a model whose logits are its input, so that the
gray levels can be read from the answer; Pillow is the judge."""
import io

import numpy as np
import pytest
from PIL import Image

import bodies

GRAY = bodies.images(1, seed=7)[0]
RANDOM = np.random.default_rng(11)
COLOR = RANDOM.integers(0, 256, (28, 28, 3), np.uint8)


def smooth(height, width, channels=None, seed=0):
    """A picture with slopes, edges and noise of any size."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width]
    planes = [127 + 80 * np.sin(x / (3 + 4 * c) + seed) + 40 * np.cos(y / (5 + c)) for c in range(channels or 1)]
    planes = [np.where((x // 7 + y // 9 + c) % 5 == 0, 255 - plane, plane) for c, plane in enumerate(planes)]
    picture = np.clip(np.stack(planes, -1) + random.normal(0, 8, (height, width, len(planes))), 0, 255).astype(np.uint8)
    return picture if channels else picture[..., 0]


@pytest.mark.parametrize("kind", ["PNG", "BMP", "PPM"])
def test_gray_of_28x28_is_itself_and_nothing_says_resized(pixels, kind):
    seen, said = pixels.seen(bodies.picture(GRAY, kind))
    assert np.array_equal(seen, GRAY) and "resized_from" not in said


@pytest.mark.parametrize("options", [{"compress_level": 0}, {"compress_level": 9}, {"optimize": True}], ids=str)
def test_a_png_of_any_compression_is_itself(pixels, options):
    assert np.array_equal(pixels.seen(bodies.picture(GRAY, **options))[0], GRAY)


@pytest.mark.parametrize("kind", ["PNG", "BMP", "PPM"])
def test_color_becomes_luma_as_pillow_has_it(pixels, kind):
    seen, _ = pixels.seen(bodies.picture(COLOR, kind))
    assert np.array_equal(seen, np.asarray(Image.fromarray(COLOR).convert("L")))


def test_a_palette_becomes_luma(pixels):
    image = Image.fromarray(COLOR).quantize(32)
    expected = np.asarray(image.convert("RGB").convert("L"))
    for kind in ("PNG", "BMP"):
        assert np.array_equal(pixels.seen(bodies.picture(image, kind))[0], expected), kind


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_alpha_lies_over_black(pixels, mode):
    """Within one level: how the product with alpha is rounded is left open. Fully opaque and clear pixels are exact."""
    image = Image.fromarray(COLOR).convert("RGB" if mode == "RGBA" else "L")
    alpha = RANDOM.integers(0, 256, (28, 28), np.uint8)
    alpha[:7], alpha[7:14] = 0, 255
    image.putalpha(Image.fromarray(alpha))
    assert image.mode == mode
    color = np.asarray(image.convert("RGBA")).astype(float)
    over = np.rint(color[..., :3] * color[..., 3:] / 255).astype(np.uint8)
    expected = np.asarray(Image.fromarray(over).convert("L")).astype(int)
    seen, _ = pixels.seen(bodies.picture(image))
    assert np.abs(seen - expected).max() <= 1
    assert np.array_equal(seen[:14], expected[:14])


def test_a_transparent_palette_color_lies_over_black(pixels):
    image = Image.fromarray(COLOR).quantize(8)
    expected = np.asarray(image.convert("RGB").convert("L")).copy()
    expected[np.asarray(image) == 3] = 0
    assert np.array_equal(pixels.seen(bodies.picture(image, transparency=3))[0], expected)


def test_one_bit_is_black_and_white(pixels):
    image = Image.fromarray(GRAY > 100)
    assert image.mode == "1"
    assert np.array_equal(pixels.seen(bodies.picture(image))[0], np.where(GRAY > 100, 255, 0))


def test_sixteen_bits_are_scaled_to_eight(pixels):
    """Within one level: v >> 8 and v / 257 are both a scaling. Both ends are exact."""
    wide = RANDOM.integers(0, 65536, (28, 28)).astype(np.uint16)
    wide[0], wide[1] = 0, 65535
    image = Image.fromarray(wide.astype(np.int32), "I")
    out = io.BytesIO()
    image.save(out, "PNG")
    seen, _ = pixels.seen(out.getvalue())
    assert np.abs(seen - wide / 257).max() <= 1
    assert not seen[0].any() and (seen[1] == 255).all()


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"optimize": True}], ids=str)
def test_a_gray_jpeg_is_what_pillow_reads(pixels, options):
    """Two decoders' inverse transforms differ by a rounding: a few levels at most, and nothing on the average."""
    data = bodies.picture(smooth(28, 28), "JPEG", quality=90, **options)
    difference = pixels.seen(data)[0] - np.asarray(Image.open(io.BytesIO(data))).astype(int)
    assert np.abs(difference).max() <= 4 and abs(difference.mean()) < 0.5


def test_a_color_jpeg_is_near_to_what_pillow_reads(pixels):
    data = bodies.picture(smooth(28, 28, 3), "JPEG", quality=95, subsampling=0)
    difference = pixels.seen(data)[0] - np.asarray(Image.open(io.BytesIO(data)).convert("L")).astype(int)
    assert np.abs(difference).max() <= 6 and abs(difference.mean()) < 1


def interlaced(gray):
    """A gray PNG of Adam7's seven passes, each of its lines unfiltered."""
    import zlib
    passes = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)]
    lines = [b"\0" + line.tobytes() for top, left, down, right in passes for line in gray[top::down, left::right]]
    data = bytearray(bodies.png(gray.shape[1], gray.shape[0], 8, 0, zlib.compress(b"".join(lines))))
    data[28] = 1
    data[29:33] = zlib.crc32(bytes(data[12:29])).to_bytes(4, "big")
    return bytes(data)


def test_an_interlaced_png_is_itself(pixels):
    data = interlaced(GRAY)
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(data))), GRAY)
    assert np.array_equal(pixels.seen(data)[0], GRAY)


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_few_bits_a_pixel_are_spread_over_all_levels(pixels, bits):
    import zlib
    levels = RANDOM.integers(0, 1 << bits, (28, 28))
    wide = np.zeros((28, 32), int)
    wide[:, :28] = levels
    packed = (wide.reshape(28, -1, 8 // bits) << np.arange(8 - bits, -1, -bits)).sum(2).astype(np.uint8)
    row_bytes = (28 * bits + 7) // 8
    lines = b"".join(b"\0" + line.tobytes()[:row_bytes] for line in packed)
    seen, _ = pixels.seen(bodies.png(28, 28, bits, 0, zlib.compress(lines)))
    assert np.array_equal(seen, levels * 255 // ((1 << bits) - 1))


def test_a_pnm_with_comments_is_read(pixels):
    data = b"P5\n# drawn by hand\n28 # wide\n28\n255\n" + GRAY.tobytes()
    assert np.array_equal(pixels.seen(data)[0], GRAY)


@pytest.mark.parametrize("most", [1, 15, 100, 255, 1000, 65535])
def test_a_pnm_of_any_largest_value_is_spread_over_all_levels(pixels, most):
    """Within one level: the rounding is left open. Both ends are exact."""
    values = RANDOM.integers(0, most + 1, (28, 28))
    values[0], values[1] = 0, most
    data = b"P5 28 28 %d\n" % most + values.astype("u1" if most < 256 else ">u2").tobytes()
    seen, _ = pixels.seen(data)
    assert np.abs(seen - values * 255 / most).max() <= 1
    assert not seen[0].any() and (seen[1] == 255).all()


def test_a_bmp_from_the_top_down_is_read(pixels):
    """A negative height: the first line is the top one."""
    data = bytearray(bodies.picture(np.ascontiguousarray(GRAY[::-1]), "BMP"))
    data[22:26] = (-28).to_bytes(4, "little", signed=True)
    assert np.array_equal(pixels.seen(bytes(data))[0], GRAY)


SIZES = [(1, 1), (2, 3), (14, 14), (27, 28), (28, 29), (29, 28), (56, 56), (57, 83), (100, 40), (320, 240), (640, 7),
         (3, 500), (1000, 1000)]


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("channels", [None, 3])
def test_a_png_of_another_size_is_within_two_levels_of_pillows_resize(pixels, size, channels):
    image = Image.fromarray(smooth(size[1], size[0], channels))
    expected = np.asarray(image.convert("L").resize((28, 28), Image.BILINEAR)).astype(int)
    seen, said = pixels.seen(bodies.picture(image))
    assert said["resized_from"] == list(size)
    assert np.abs(seen - expected).max() <= 2


@pytest.mark.parametrize("kind", ["BMP", "PPM"])
def test_a_bmp_and_a_pnm_are_resized_alike(pixels, kind):
    image = Image.fromarray(smooth(61, 45, 3))
    expected = np.asarray(image.convert("L").resize((28, 28), Image.BILINEAR)).astype(int)
    seen, said = pixels.seen(bodies.picture(image, kind))
    assert said["resized_from"] == [45, 61] and np.abs(seen - expected).max() <= 2


def test_alpha_is_laid_over_black_before_the_resize(pixels):
    image = Image.fromarray(smooth(60, 60, 3))
    alpha = np.zeros((60, 60), np.uint8)
    alpha[10:40, 15:50] = 255
    over = Image.fromarray(np.asarray(image) * (alpha[..., None] > 0))
    image.putalpha(Image.fromarray(alpha))
    expected = np.asarray(over.convert("L").resize((28, 28), Image.BILINEAR)).astype(int)
    assert np.abs(pixels.seen(bodies.picture(image))[0] - expected).max() <= 2


def test_resized_from_stands_in_the_answer_only_where_the_size_was_another(pixels):
    """In a batch it stands in the entry of the picture that it is about."""
    small, large = bodies.picture(GRAY), bodies.picture(smooth(40, 30))
    body, headers = bodies.multipart(small, large, small)
    entries = pixels.predict(body, headers=headers).json()["predictions"]
    assert [entry.get("resized_from") for entry in entries] == [None, [30, 40], None]
    assert ["resized_from" in entry for entry in entries] == [False, True, False]


def test_resize_0_refuses_another_size_and_takes_the_right_one(daemon, refuses):
    refuses(daemon, daemon.predict(bodies.picture(smooth(30, 40)), "?resize=0"), 400, "40", "30", "28")
    assert daemon.predict(bodies.picture(GRAY), "?resize=0").status == 200
    body, headers = bodies.multipart(bodies.picture(GRAY), bodies.picture(smooth(30, 40)))
    refuses(daemon, daemon.predict(body, "?resize=0", headers), 400, "40", "30", "28")
    text = bodies.json_body(bodies.base64_text(bodies.picture(smooth(30, 40))))
    refuses(daemon, daemon.predict(text, "?resize=0"), 400, "40", "30", "28")


def test_invert_turns_dark_on_light_around(pixels):
    assert np.array_equal(pixels.seen(bodies.picture(GRAY), "?invert=1")[0], 255 - GRAY.astype(int))
    text = bodies.json_body(bodies.base64_text(bodies.picture(GRAY)))
    assert np.array_equal(pixels.seen(text, "?invert=1")[0], 255 - GRAY.astype(int))
    image = Image.fromarray(smooth(61, 45))
    expected = 255 - np.asarray(image.resize((28, 28), Image.BILINEAR)).astype(int)
    assert np.abs(pixels.seen(bodies.picture(image), "?invert=1")[0] - expected).max() <= 2


def test_raw_bytes_are_the_same_row_as_the_picture_of_them(pixels):
    assert np.array_equal(pixels.seen(GRAY.tobytes())[0], GRAY)
    assert np.array_equal(pixels.seen(bodies.npy(np.asfortranarray(GRAY)))[0], GRAY)


def test_a_model_without_model_json_has_null_labels(pixels):
    said = pixels.predict(GRAY.tobytes(), "?top_k=2").json()
    assert said["label"] is None and [entry["label"] for entry in said["top_k"]] == [None, None]
    assert pixels.model()["labels"] is None


def test_model_json_says_how_pixels_are_scaled(tmp_path):
    import models
    from harness import Daemon
    root = models.identity(tmp_path, {"input": {"width": 28, "height": 28, "pixel_divisor": 16}})
    with Daemon("--models", root) as running:
        for body in (GRAY.tobytes(), bodies.picture(GRAY), bodies.npy(GRAY), bodies.json_body(GRAY, dtype="uint8")):
            logits = np.float32(running.predict(body, "?logits=1").json()["logits"])
            assert np.array_equal(logits, GRAY.ravel().astype(np.float32) / np.float32(16))
        row = bodies.scaled(GRAY).ravel()
        assert np.array_equal(np.float32(running.predict(row.tobytes(), "?logits=1").json()["logits"]), row)


def test_a_model_of_another_square_takes_pictures_of_that_size(tmp_path):
    import models
    from harness import Daemon
    root = models.dense(tmp_path, "square", 100, 5, describe={"labels": list("abcde")})
    gray = smooth(10, 10)
    with Daemon("--models", root) as running:
        said = running.predict(bodies.picture(gray)).json()
        assert "resized_from" not in said and said["label"] == "abcde"[said["class"]] and said["model"] == "square"
        assert running.predict(gray.tobytes()).json() == said
        assert running.predict(bodies.scaled(gray).tobytes()).json() == said
        assert running.predict(bodies.picture(smooth(28, 28))).json()["resized_from"] == [28, 28]


def test_a_model_of_a_wide_picture_takes_width_and_height_from_model_json(tmp_path):
    import models
    from harness import Daemon
    labels = ['say "hi"', "back\\slash", "\u00fcml\u00e4ut", "\u4e2d \U0001f97e"]
    root = models.dense(tmp_path, "wide", 400, 4, describe={"labels": labels, "input": {"width": 40, "height": 10}})
    gray = smooth(10, 40)
    with Daemon("--models", root) as running:
        said = running.predict(bodies.picture(gray), "?top_k=4").json()
        assert sorted(entry["label"] for entry in said["top_k"]) == sorted(labels) and running.model()["labels"] == labels
        for body in (gray.tobytes(), bodies.scaled(gray).tobytes(), bodies.npy(gray), bodies.npy(gray.ravel()),
                     bodies.json_body(gray, dtype="uint8")):
            assert running.predict(body, "?top_k=4").json() == said
        large = Image.fromarray(smooth(33, 95))
        resized = np.asarray(large.resize((40, 10), Image.BILINEAR))
        near = running.predict(bodies.picture(large), "?logits=1").json()
        assert near["resized_from"] == [95, 33]
        assert np.allclose(near["logits"], running.predict(resized.tobytes(), "?logits=1").json()["logits"], atol=0.2)
        assert running.predict(bodies.npy(gray.T)).status == 400


def test_a_model_whose_input_is_no_square_takes_tensors_and_refuses_pictures(tmp_path, refuses):
    import models
    from harness import Daemon
    root = models.dense(tmp_path, "vector", 7, 5, 2)
    row = np.arange(7, dtype=np.uint8)
    with Daemon("--models", root) as running:
        said = running.predict(row.tobytes()).json()
        assert len(said["probabilities"]) == 2 and abs(sum(said["probabilities"]) - 1) < 1e-6
        assert running.predict(bodies.scaled(row).tobytes()).json()["class"] == said["class"]
        assert len(running.predict(bodies.npy(np.zeros((3, 7), "<f4"))).json()["predictions"]) == 3
        refuses(running, running.predict(bodies.picture(GRAY)), (400, 415), "7")
        refuses(running, running.predict(bytes(8), headers={"Content-Type": "application/octet-stream"}), 400, "7", "28")
