# SPDX-License-Identifier: Apache-2.0
"""From texts, images and sounds to what `PlaitMultimodalForSequenceClassification` reads.

Files of strangers are read within bounds: images by Pillow, at most `MAX_PIXELS`; sounds by the
standard library's `wave`, at most `MAX_SECONDS`.
"""

from __future__ import annotations

import json
import math
import warnings
import wave
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoFeatureExtractor, AutoImageProcessor, AutoTokenizer, ProcessorMixin

FILE = "processor_config.json"
MODALITIES = ("text", "image", "audio")
IMAGE_FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF")
MAX_PIXELS = 50_000_000
MAX_IMAGE_BYTES = 100_000_000
MAX_SECONDS = 60.0
MAX_AUDIO_BYTES = 100_000_000
FLOOR = 1e-6
MIN_SECONDS = 0.1

IMAGE = {"kind": "pixels", "size": 224, "mean": 127.0, "scale": 128.0}
"""EfficientNet-Lite's: (pixel - 127) / 128 at 224 by 224."""
AUDIO = {
    "kind": "mel",
    "rate": 16_000,
    "window": 0.025,
    "step": 0.01,
    "mels": 40,
    "logarithm": True,
    "loudness": None,
    "seconds": 15.0,
}
"""Log-mel features; with `loudness`, quieter sounds are first raised to so many decibels."""


class PlaitMultimodalProcessor(ProcessorMixin):  # type: ignore[misc]
    """Reads the modalities that its settings name: `text`, `image`, `audio`.

    `image` and `audio` are as in `IMAGE` and `AUDIO`, or {kind: transformers} with a processor of
    transformers' own; `text` has `max_length`.
    """

    attributes: tuple[str, ...] = ()

    def __init__(
        self,
        settings: Mapping[str, Mapping[str, Any]],
        tokenizer: Any = None,
        image_processor: Any = None,
        feature_extractor: Any = None,
    ) -> None:
        self.settings = {name: dict(settings[name]) for name in MODALITIES if name in settings}
        self.tokenizer = tokenizer
        self.image_processor = image_processor
        self.feature_extractor = feature_extractor
        self._filters: Any = None

    @property
    def modalities(self) -> tuple[str, ...]:
        """The modalities, in the order of `modality_mask`'s columns."""
        return tuple(self.settings)

    @property
    def model_input_names(self) -> list[str]:
        """The names of what `__call__` returns."""
        names = {
            "text": ["input_ids", "attention_mask"],
            "image": ["pixel_values"],
            "audio": ["input_features", "input_features_mask"],
        }
        return [n for m in self.modalities for n in names[m]] + ["modality_mask"]

    def __call__(
        self,
        text: str | Sequence[str | None] | None = None,
        images: Any = None,
        audio: Any = None,
        **kwargs: Any,
    ) -> dict[str, Any]:
        """Return tensors for the model; `modality_mask` says which item has what.

        Args:
            text: texts, or one; None where an item has none.
            images: paths, Pillow images or arrays [height, width, 3] of bytes; None likewise.
            audio: paths of wav files, or pairs (samples [n] from -1 to 1, rate); None likewise.
            kwargs: ignored, for callers that pass `return_tensors="pt"`: there are no others.

        Raises:
            ValueError: naming the file that cannot be read.
        """
        given = {"text": text, "image": images, "audio": audio}
        columns: dict[str, list[Any]] = {}
        for name, value in given.items():
            if value is None:
                continue
            if name not in self.settings:
                raise ValueError(f"The model reads {', '.join(self.modalities)}, and no {name}.")
            columns[name] = _listed(value)
        lengths = {len(column) for column in columns.values()}
        if len(lengths) != 1 or 0 in lengths:
            raise ValueError("Give one or more modalities, with the same number of items each.")
        count = lengths.pop()
        made: dict[str, Any] = {}
        mask = torch.zeros(count, len(self.settings), dtype=torch.long)
        for place, name in enumerate(self.modalities):
            column = columns.get(name)
            if column is None or all(value is None for value in column):
                continue
            mask[:, place] = torch.tensor([value is not None for value in column]).long()
            made |= {"text": self._texts, "image": self._images, "audio": self._sounds}[name](
                column
            )
        if not bool(mask.any(1).all()):
            raise ValueError(f"Item {int((~mask.any(1)).nonzero()[0])} has no modality at all.")
        return made | {"modality_mask": mask}

    def save_pretrained(self, save_directory: Any, **kwargs: Any) -> None:
        """Write the settings, the tokenizer, and processors of transformers in folders."""
        folder = Path(save_directory)
        folder.mkdir(parents=True, exist_ok=True)
        content = {
            "processor_class": type(self).__name__,
            "auto_map": {"AutoProcessor": "multimodal.PlaitMultimodalProcessor"},
            "settings": self.settings,
        }
        (folder / FILE).write_text(json.dumps(content, indent=2) + "\n", "utf-8")
        if self.tokenizer is not None:
            self.tokenizer.save_pretrained(folder)
        for name, part in (("image", self.image_processor), ("audio", self.feature_extractor)):
            if part is not None:
                part.save_pretrained(folder / name)

    @classmethod
    def from_pretrained(
        cls, pretrained_model_name_or_path: Any, **kwargs: Any
    ) -> PlaitMultimodalProcessor:
        """Read what `save_pretrained` wrote, from a folder or (by transformers' means) a hub."""
        from transformers.utils import cached_file

        place = str(pretrained_model_name_or_path)
        known = ("revision", "token", "cache_dir", "local_files_only", "force_download")
        options = {name: kwargs[name] for name in known if kwargs.get(name) is not None}
        found = cached_file(place, FILE, **options)
        settings = json.loads(Path(found).read_text("utf-8"))["settings"]
        if kwargs.get("trust_remote_code") is not None:  # else the tokenizer asks once more
            options["trust_remote_code"] = kwargs["trust_remote_code"]

        def part(name: str, kind: Any) -> Any:
            if settings.get(name, {}).get("kind") != "transformers":
                return None
            if Path(place).is_dir():
                return kind.from_pretrained(str(Path(place) / name), **options)
            return kind.from_pretrained(place, subfolder=name, **options)

        return cls(
            settings,
            AutoTokenizer.from_pretrained(place, **options) if "text" in settings else None,
            part("image", AutoImageProcessor),
            part("audio", AutoFeatureExtractor),
        )

    def _texts(self, texts: Sequence[str | None]) -> dict[str, Any]:
        most = self.settings["text"].get("max_length", 128)
        rows = self.tokenizer([t or "" for t in texts], truncation=True, max_length=most)
        ids = [[] if t is None else list(r) for t, r in zip(texts, rows["input_ids"], strict=True)]
        longest = max(1, *(len(row) for row in ids))
        fill = self.tokenizer.pad_token_id or 0
        made = torch.full((len(ids), longest), fill, dtype=torch.long)
        mask = torch.zeros((len(ids), longest), dtype=torch.long)
        for place, row in enumerate(ids):
            made[place, : len(row)] = torch.tensor(row, dtype=torch.long)
            mask[place, : len(row)] = 1
        return {"input_ids": made, "attention_mask": mask}

    def _images(self, images: Sequence[Any]) -> dict[str, Any]:
        settings = self.settings["image"]
        read = [None if image is None else read_image(image) for image in images]
        if settings["kind"] == "transformers":
            there = [image for image in read if image is not None]
            found = iter(self.image_processor(there, return_tensors="pt")["pixel_values"])
            pixels = [None if image is None else next(found) for image in read]
        else:
            pixels = [None if image is None else _pixels(image, settings) for image in read]
        return {"pixel_values": _stacked(pixels)}

    def _sounds(self, sounds: Sequence[Any]) -> dict[str, Any]:
        settings = self.settings["audio"]
        rate = settings["rate"]
        read = [None if s is None else resample(*read_audio(s), rate) for s in sounds]
        if settings["kind"] == "transformers":
            silent = np.zeros(rate, dtype=np.float32)
            waves = [silent if samples is None else samples for samples in read]
            options = {"padding": settings.get("padding", True)}
            made = self.feature_extractor(waves, sampling_rate=rate, return_tensors="pt", **options)
            name = "input_features" if "input_features" in made else "input_values"
            return {"input_features": made[name]}
        if self._filters is None:
            self._filters = mel_filters(settings["mels"], rate, round(rate * settings["window"]))
        frames = [
            None if samples is None else spectrogram(samples, settings, self._filters)
            for samples in read
        ]
        longest = max(len(part) for part in frames if part is not None)
        values = torch.zeros(len(frames), longest, settings["mels"])
        mask = torch.zeros(len(frames), longest, dtype=torch.long)
        for place, part in enumerate(frames):
            if part is not None:
                values[place, : len(part)] = torch.from_numpy(part)
                mask[place, : len(part)] = 1
        return {"input_features": values, "input_features_mask": mask}


def read_image(source: Any) -> Any:
    """Return a Pillow image in RGB; what is transparent becomes white.

    Raises:
        ValueError: naming the file, if it is missing, no image, damaged, or too large.
    """
    from PIL import Image

    if isinstance(source, np.ndarray):
        return Image.fromarray(source).convert("RGB")
    if not isinstance(source, str | Path):
        return _opaque(source)
    path = Path(source)
    _bounded(path, MAX_IMAGE_BYTES)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's own limit is checked below, as an error
            with Image.open(path, formats=IMAGE_FORMATS) as image:
                wide, high = image.size
                if wide * high <= MAX_PIXELS:
                    return _opaque(image)
    except Exception as error:  # decoders raise many kinds for a damaged file
        told = " ".join(str(error).split())[:120]
        raise ValueError(
            f"{path.name} is not an image that can be read ({told}); use PNG, JPEG, WEBP, BMP "
            "or GIF."
        ) from None
    raise ValueError(
        f"{path.name} has {wide} by {high} pixels; {MAX_PIXELS:,} in all is the most that is read."
    )


def read_audio(source: Any) -> tuple[Any, int]:
    """Return (samples [n] from -1 to 1, rate) of a wav file in PCM; channels are averaged.

    Raises:
        ValueError: naming the file, if it is missing, no such wav, empty, or too long.
    """
    if isinstance(source, tuple):
        samples, rate = np.asarray(source[0], dtype=np.float32), int(source[1])
        if samples.ndim != 1 or not np.isfinite(samples).all():
            raise ValueError("A sound's samples must be one row of finite numbers.")
        return samples[: int(MAX_SECONDS * rate)], rate
    path = Path(source)
    _bounded(path, MAX_AUDIO_BYTES)
    try:
        with wave.open(str(path), "rb") as file:
            channels, width, rate = file.getnchannels(), file.getsampwidth(), file.getframerate()
            count = file.getnframes()
            long = count > MAX_SECONDS * rate
            data = b"" if long else file.readframes(count)
    except (wave.Error, EOFError, OSError, ValueError) as error:
        raise ValueError(
            f"{path.name} is not a wav file that can be read ({error or 'it is cut off'}); use "
            "uncompressed PCM."
        ) from None
    if long:
        raise ValueError(f"{path.name} is longer than {MAX_SECONDS:.0f} seconds; cut it.")
    if not 1_000 <= rate <= 400_000 or not 1 <= channels <= 64 or width not in (1, 2, 3, 4):
        raise ValueError(f"{path.name} has a format of sound that makes no sense.")
    data = data[: len(data) // (channels * width) * channels * width]
    if not data:
        raise ValueError(f"{path.name} holds no sound.")
    if width == 1:
        samples = (np.frombuffer(data, np.uint8).astype(np.float32) - 128) / np.float32(128)
    else:
        whole = np.zeros((len(data) // width, 4), np.uint8)
        whole[:, 4 - width :] = np.frombuffer(data, np.uint8).reshape(-1, width)
        samples = whole.view("<i4")[:, 0].astype(np.float32) / np.float32(2**31)
    return samples.reshape(-1, channels).mean(axis=1), rate


def resample(samples: Any, rate: int, wanted: int) -> Any:
    """Return samples at another rate, by the Fourier transform (of what both rates can carry)."""
    if rate == wanted or not len(samples):
        return samples
    shared = math.gcd(rate, wanted)
    block = rate // shared
    padded = np.pad(samples, (0, -len(samples) % block + block))
    size = len(padded) // block * (wanted // shared)
    spectrum = np.fft.rfft(padded)[: size // 2 + 1]
    made = np.fft.irfft(spectrum, size) * (size / len(padded))
    return made[: max(1, round(len(samples) * wanted / rate))].astype(np.float32)


def spectrogram(samples: Any, settings: Mapping[str, Any], filters: Any) -> Any:
    """Return the power in mel bands [frames, mels] of samples at the settings' rate.

    Frames are centred, padded with silence, under a Hann window. With `logarithm`, its natural
    logarithm, less the sound's own mean: how loud a recording is says nothing.
    """
    rate = settings["rate"]
    window, step = round(rate * settings["window"]), round(rate * settings["step"])
    samples = samples[: int(settings["seconds"] * rate)]
    if settings["loudness"] is not None and len(samples):
        level = 20 * math.log10(max(1e-5, float(np.sqrt(np.mean(np.square(samples))))))
        samples = samples * 10 ** (max(0.0, settings["loudness"] - level) / 20)
    short = int(MIN_SECONDS * rate) - len(samples)
    samples = np.pad(samples, (window // 2, window // 2 + max(0, short)))
    frames = np.lib.stride_tricks.sliding_window_view(samples, window)[::step]
    shape = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(window) / window)
    power = np.abs(np.fft.rfft(frames * shape, axis=1)) ** 2
    bands = power @ filters
    if settings["logarithm"]:
        bands = np.log(bands + FLOOR)
        bands = bands - bands.mean()
    return bands.astype(np.float32)


def mel_filters(mels: int, rate: int, window: int) -> Any:
    """Return the filter bank [window / 2 + 1, mels] of Slaney's Auditory Toolbox (1998).

    Triangles of the same area, at mel frequencies: linear below 1 kHz, logarithmic above.
    """
    frequencies = np.linspace(0, rate / 2, window // 2 + 1)
    top = 15 + 27 * math.log(rate / 2 / 1000) / math.log(6.4) if rate > 2000 else rate / 2 * 3 / 200
    marks = np.linspace(0, top, mels + 2)
    edges = np.where(marks < 15, marks * 200 / 3, 1000 * np.exp((marks - 15) * math.log(6.4) / 27))
    low, middle, high = edges[:-2], edges[1:-1], edges[2:]
    rising = (frequencies[:, None] - low) / (middle - low)
    falling = (high - frequencies[:, None]) / (high - middle)
    return np.maximum(0, np.minimum(rising, falling)) * (2 / (high - low))


def _listed(value: Any) -> list[Any]:
    single = isinstance(value, str | Path | tuple) or not isinstance(value, Sequence)
    return [value] if single else list(value)


def _bounded(path: Path, most: int) -> None:
    if not path.is_file():
        raise ValueError(f"There is no file {path}.")
    if path.stat().st_size > most:
        raise ValueError(f"{path.name} is larger than {most:,} bytes.")


def _opaque(image: Any) -> Any:
    from PIL import Image

    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        clear = image.convert("RGBA")
        white = Image.new("RGBA", clear.size, "white")
        return Image.alpha_composite(white, clear).convert("RGB")
    return image.convert("RGB")


def _pixels(image: Any, settings: Mapping[str, Any]) -> Any:
    from PIL import Image

    size = settings["size"]
    small = image.resize((size, size), Image.Resampling.BICUBIC)
    values = (np.asarray(small, dtype=np.float32) - settings["mean"]) / settings["scale"]
    return torch.from_numpy(values).permute(2, 0, 1)


def _stacked(parts: Sequence[Any]) -> Any:
    blank = torch.zeros_like(next(part for part in parts if part is not None))
    return torch.stack([blank if part is None else part for part in parts])
