# SPDX-License-Identifier: Apache-2.0
"""Encoders, models with other heads, and those of Plait's own architectures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from plait.errors import BadInput, PlaitError
from plait.modeling import ARCHITECTURES, register
from plait.pretrained.folders import check_folder, check_weights, read_config, refuse_gaps
from plait.pretrained.libraries import libraries, quiet


def load_encoder(folder: Path, modality: str) -> tuple[Any, Any]:
    """Load an encoder without any head, in float32, and what prepares its inputs.

    Args:
        folder: a model in safetensors of an architecture that transformers has.
        modality: `text`, `image` or `audio`: says whether a tokenizer, an image processor or a
            feature extractor is read.

    Raises:
        BadInput: naming the folder and what it lacks; weights of a pooler may be missing.
        MissingExtra: if torch or transformers is not installed.
    """
    torch, transformers = libraries()
    folder = Path(folder)
    config = read_config(folder)
    if modality == "text":
        check_folder(folder)
    check_weights(folder, config)
    reader = {
        "text": transformers.AutoTokenizer,
        "image": transformers.AutoImageProcessor,
        "audio": transformers.AutoFeatureExtractor,
    }[modality]
    options: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
    with quiet(transformers), torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)  # a pooler that the folder lacks is drawn
        try:
            model, loading = transformers.AutoModel.from_pretrained(
                str(folder),
                use_safetensors=True,
                dtype=torch.float32,
                output_loading_info=True,
                **options,
            )
            prepares = reader.from_pretrained(str(folder), **options)
        except Exception as error:  # as below
            told = " ".join(str(error).split())[:300]
            raise BadInput(
                f"{folder.name} cannot be loaded as an encoder of {modality}: {told}"
            ) from error
    missing = [name for name in loading["missing_keys"] if "pooler" not in name]
    refuse_gaps(folder, dict(loading) | {"missing_keys": missing})
    return model.eval(), prepares


def load_weights(folder: Path) -> dict[str, Any]:
    """Return the tensors of a folder's `model.safetensors` by name, in float32.

    Raises:
        BadInput: if there is no such file, or it cannot be read.
    """
    libraries()
    import safetensors.torch

    try:
        found = safetensors.torch.load_file(Path(folder) / "model.safetensors")
    except (OSError, safetensors.SafetensorError) as error:
        raise BadInput(f"{Path(folder).name}/model.safetensors cannot be read: {error}.") from None
    return {name: value.float() for name, value in found.items()}


def load_model(folder: Path, auto: str, *, needs_head: bool = True) -> tuple[Any, Any]:
    """Load a model by one of transformers' auto classes and its tokenizer, in float32.

    Args:
        folder: as ``save_pretrained`` writes it.
        auto: the class's name, as `AutoModelForTokenClassification`.
        needs_head: whether every weight must be in the folder; without it a pooler may lack, which
            nothing asks for.

    Raises:
        BadInput: naming the folder and what it lacks.
        MissingExtra: if torch or transformers is not installed.
    """
    torch, transformers = libraries()
    folder = Path(folder)
    check_folder(folder)
    options: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
    with quiet(transformers), torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        try:
            model, loading = getattr(transformers, auto).from_pretrained(
                str(folder),
                use_safetensors=True,
                dtype=torch.float32,
                output_loading_info=True,
                **options,
            )
            tokenizer = transformers.AutoTokenizer.from_pretrained(str(folder), **options)
        except Exception as error:  # transformers raises some twenty kinds for a bad folder
            told = " ".join(str(error).split())[:300]
            raise BadInput(f"{folder.name} cannot be loaded by {auto}: {told}") from error
    kept = {name for name in loading["missing_keys"] if needs_head or "pooler" not in name}
    refuse_gaps(folder, {**loading, "missing_keys": kept})
    if max(tokenizer.get_vocab().values(), default=-1) >= len(model.get_input_embeddings().weight):
        raise BadInput(
            f"{folder.name} has a tokenizer with more tokens than the model has embeddings: they "
            "do not belong together."
        )
    return model, tokenizer


def load_own(folder: Path) -> tuple[Any, Any]:
    """Load a model of Plait's own architectures and its processor, in float32.

    Our installed classes read it; the code that lies in the folder for others is not run.

    Raises:
        BadInput: naming the folder and what it lacks.
        MissingExtra: if a package is not installed.
    """
    torch, transformers = libraries()
    folder = Path(folder)
    config = read_config(folder)
    if config["model_type"] not in ARCHITECTURES:
        raise BadInput(f"{folder.name} is not of an architecture of Plait's own.")
    check_weights(folder, config)
    register()
    _, model_class, processor_class = ARCHITECTURES[config["model_type"]].classes()
    with quiet(transformers), torch.random.fork_rng(devices=[]):
        try:
            model, loading = model_class.from_pretrained(
                str(folder),
                use_safetensors=True,
                dtype=torch.float32,
                output_loading_info=True,
                local_files_only=True,
            )
            processor = processor_class.from_pretrained(str(folder), local_files_only=True)
        except PlaitError:
            raise
        except Exception as error:  # as above
            told = " ".join(str(error).split())[:300]
            raise BadInput(f"{folder.name} cannot be loaded: {told}") from error
    refuse_gaps(folder, loading)
    return model, processor
