# SPDX-License-Identifier: Apache-2.0
"""Reading transformers models from folders, for the engines that run them: no pickle, no code."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from plait.errors import BadInput, MissingExtra, PlaitError
from plait.modeling import ARCHITECTURES, register
from plait.widening import compute_wide, stays_narrow

VOCABULARIES = (
    "tokenizer.json",
    "vocab.txt",
    "vocab.json",
    "tokenizer.model",
    "*.spm",
    "*.bpe.model",
)
MAX_CLAIM = 100_000_000
MAX_CONFIG_BYTES = 16_000_000
MAX_PIXELS = 50_000_000
PICKLES = ("*.bin", "*.pt", "*.pth", "*.pkl", "*.ckpt")

HEADS = "heads"
"""The folder of heads in a model's folder, one for each task (see `plait.heads`)."""
HEAD = "head.safetensors"
_TASK = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def load_classifier(
    folder: Path,
    *,
    task: str | None = None,
    new_head: Sequence[str] | None = None,
    seed: int = 0,
    predicting: bool = False,
) -> tuple[Any, Any]:
    """Load a sequence classification model and its tokenizer from a folder, in float32.

    Args:
        folder: as ``save_pretrained`` writes it, or with heads for tasks (see `plait.heads`).
        task: whose head to use, where the folder has several; others are the same for every task.
        new_head: labels of a fresh head, in place of any that there is.
        seed: of a fresh head.
        predicting: the model is not trained. A large one may then keep its weights as they are
            stored and widen them layer by layer (see `plait.widening`), with the same results.

    Raises:
        BadInput: naming the folder and what it lacks. Weights without a head are an error unless
            ``new_head`` names the labels of a fresh one.
    """
    names = head_names(Path(folder))
    if names and new_head is None:
        place = Path(folder) / HEADS / _chosen(Path(folder), names, task)
        labels, weights = _read_head(place)
        model, tokenizer, missing = _load(Path(folder), labels, seed)
        _put_head(model, place, weights, assign=False)
        missing = [name for name in missing if name not in weights]
    else:
        stored = stays_narrow(Path(folder)) if predicting and new_head is None else None
        model, tokenizer, missing = _load(Path(folder), new_head, seed, stored)
        missing = [] if new_head is not None else missing
    if missing:
        raise BadInput(
            f"{Path(folder).name} lacks weights that a text classifier needs ({missing[0]}): it "
            "must be a sequence classification model with its head, as save_pretrained writes it."
        )
    return model, tokenizer


def _load(
    folder: Path, new_head: Sequence[str] | None, seed: int, stored: str | None = None
) -> tuple[Any, Any, list[str]]:
    """Return a classifier, its tokenizer and the names of weights that its files lack.

    ``stored``: the format that the weights keep, if they are not widened as a whole.
    """
    try:
        import torch
        import transformers
    except ImportError as error:
        raise MissingExtra(error.name or "torch", "train") from None
    _check_folder(folder)
    transformers.utils.logging.disable_progress_bar()
    options: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
    fresh: dict[str, Any] = {}
    if new_head is not None:
        names = dict(enumerate(new_head))
        fresh = {
            "num_labels": len(names),
            "id2label": names,
            "label2id": {name: index for index, name in names.items()},
        }
    with _quiet(transformers), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)  # what the weights lack besides the head (a pooler) is drawn
        try:
            model, loading = transformers.AutoModelForSequenceClassification.from_pretrained(
                str(folder),
                use_safetensors=True,
                dtype=getattr(torch, stored or "float32"),
                output_loading_info=True,
                # a head in the weights may be for other labels than the fresh one's
                ignore_mismatched_sizes=new_head is not None,
                **options,
                **fresh,
            )
            tokenizer = transformers.AutoTokenizer.from_pretrained(str(folder), **options)
        except Exception as error:  # transformers raises some twenty kinds for a bad folder
            told = " ".join(str(error).split())[:300]
            raise BadInput(
                f"{folder.name} cannot be loaded as a text classifier: {told}"
            ) from error
    rows = model.get_input_embeddings().weight.shape[0]
    if max(tokenizer.get_vocab().values(), default=-1) >= rows:
        raise BadInput(
            f"{folder.name} has a tokenizer with more tokens than the model's {rows:,}: "
            "they do not belong together."
        )
    wrong = [str(k[0] if isinstance(k, tuple) else k) for k in loading.get("mismatched_keys", ())]
    if any(new_head is None or name.startswith(f"{model.base_model_prefix}.") for name in wrong):
        raise BadInput(f"{folder.name} has weights whose shape contradicts its config.json.")
    return compute_wide(model) if stored else model, tokenizer, sorted(loading["missing_keys"])


def load_heads(folder: Path) -> tuple[dict[str, Any], Any]:
    """Load the classifier of every task of a folder with heads, and its tokenizer.

    The classifiers share one encoder: it is in memory once, and what changes it changes all.

    Raises:
        BadInput: as `load_classifier`, or if the folder has no heads.
    """
    folder = Path(folder)
    names = head_names(folder)
    if not names:
        raise BadInput(f"{folder.name} has no heads for tasks ({HEADS}/TASK/{HEAD}).")
    first, tokenizer = load_classifier(folder, task=names[0])
    found = {names[0]: first}
    import copy

    import torch

    for name in names[1:]:
        labels, weights = _read_head(folder / HEADS / name)
        config = copy.deepcopy(first.config)
        config.id2label = dict(enumerate(labels))
        config.label2id = {label: index for index, label in enumerate(labels)}
        with torch.device("meta"):  # nothing is drawn: every weight is replaced
            model = type(first)(config)
        setattr(model, model.base_model_prefix, first.base_model)
        _put_head(model, folder / HEADS / name, weights, assign=True)
        found[name] = model
    return found, tokenizer


def head_names(folder: Path) -> tuple[str, ...]:
    """Return the tasks that a model folder has heads of its own for; none for other folders."""
    place = folder / HEADS
    if not place.is_dir():
        return ()
    files = (HEAD, "config.json")
    return tuple(
        sorted(p.name for p in place.iterdir() if all((p / name).is_file() for name in files))
    )


def check_task_name(task: str) -> None:
    """Refuse a name that cannot be a head's.

    Raises:
        BadInput: if it is not one word.
    """
    if not _TASK.fullmatch(task):
        raise BadInput(
            f"A head's task must be one word of letters, digits, '-' or '_', not '{task[:60]}'."
        )


def _chosen(folder: Path, names: Sequence[str], task: str | None) -> str:
    if task in names:
        return str(task)
    if task is None and len(names) == 1:
        return names[0]
    asked = "say which task's is meant" if task is None else f"none of them for '{task[:60]}'"
    raise BadInput(f"{folder.name} has a head for each of {', '.join(names[:20])}; {asked}.")


def _read_head(place: Path) -> tuple[list[str], dict[str, Any]]:
    """Return the labels of a head, in order, and its weights."""
    import safetensors.torch

    where = f"{place.parent.parent.name}/{HEADS}/{place.name}"
    check_task_name(place.name)
    try:
        if (place / "config.json").stat().st_size > MAX_CONFIG_BYTES:
            raise BadInput(f"{where} has a config.json that is too large.")
        told = json.loads((place / "config.json").read_text("utf-8"))["id2label"]
        labels = [str(told[str(index)]) for index in range(len(told))]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        raise BadInput(
            f"{where} needs a config.json with 'id2label', the names of classes 0, 1, …"
        ) from None
    try:
        weights = safetensors.torch.load_file(place / HEAD)
    except (OSError, safetensors.SafetensorError) as error:
        raise BadInput(f"{where}/{HEAD} cannot be read: {error}.") from None
    return labels, weights


def _put_head(model: Any, place: Path, weights: Mapping[str, Any], *, assign: bool) -> None:
    """Give a model a head's weights, which must be all that it has beside its encoder."""
    prefix = f"{model.base_model_prefix}."
    wanted = {n: t for n, t in model.state_dict().items() if not n.startswith(prefix)}
    where = f"{place.parent.parent.name}/{HEADS}/{place.name}"
    if sorted(wanted) != sorted(weights):
        raise BadInput(
            f"{where} holds {', '.join(sorted(weights)[:5]) or 'nothing'}, but the head of a "
            f"{model.config.model_type} classifier is {', '.join(sorted(wanted))}."
        )
    for name, tensor in weights.items():
        if tuple(tensor.shape) != tuple(wanted[name].shape):
            raise BadInput(
                f"{where}: '{name}' has shape {list(tensor.shape)}, but the encoder and the labels "
                f"ask for {list(wanted[name].shape)}."
            )
    model.load_state_dict({n: t.float() for n, t in weights.items()}, strict=False, assign=assign)


def load_image_classifier(folder: Path) -> tuple[Any, Any]:
    """Load an image classification model and its image processor from a folder, in float32.

    Raises:
        BadInput: naming the folder and what it lacks.
        MissingExtra: if torch, transformers or pillow is not installed.
    """
    torch, transformers = _libraries()
    folder = Path(folder)
    config = read_config(folder)
    _check_weights(folder, config)
    options: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
    with _quiet(transformers):
        try:
            model, loading = transformers.AutoModelForImageClassification.from_pretrained(
                str(folder),
                use_safetensors=True,
                dtype=torch.float32,
                output_loading_info=True,
                **options,
            )
            processor = transformers.AutoImageProcessor.from_pretrained(str(folder), **options)
        except Exception as error:  # transformers raises some twenty kinds for a bad folder
            told = " ".join(str(error).split())[:300]
            raise BadInput(
                f"{folder.name} cannot be loaded as an image classifier: {told}"
            ) from error
    _refuse_gaps(folder, loading)
    return model, processor


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
    torch, transformers = _libraries()
    folder = Path(folder)
    config = read_config(folder)
    if modality == "text":
        _check_folder(folder)
    _check_weights(folder, config)
    reader = {
        "text": transformers.AutoTokenizer,
        "image": transformers.AutoImageProcessor,
        "audio": transformers.AutoFeatureExtractor,
    }[modality]
    options: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
    with _quiet(transformers), torch.random.fork_rng(devices=[]):
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
    _refuse_gaps(folder, dict(loading) | {"missing_keys": missing})
    return model.eval(), prepares


def load_weights(folder: Path) -> dict[str, Any]:
    """Return the tensors of a folder's `model.safetensors` by name, in float32.

    Raises:
        BadInput: if there is no such file, or it cannot be read.
    """
    _libraries()
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
    torch, transformers = _libraries()
    folder = Path(folder)
    _check_folder(folder)
    options: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
    with _quiet(transformers), torch.random.fork_rng(devices=[]):
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
    _refuse_gaps(folder, {**loading, "missing_keys": kept})
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
    torch, transformers = _libraries()
    folder = Path(folder)
    config = read_config(folder)
    if config["model_type"] not in ARCHITECTURES:
        raise BadInput(f"{folder.name} is not of an architecture of Plait's own.")
    _check_weights(folder, config)
    register()
    _, model_class, processor_class = ARCHITECTURES[config["model_type"]].classes()
    with _quiet(transformers), torch.random.fork_rng(devices=[]):
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
    _refuse_gaps(folder, loading)
    return model, processor


def open_image(file: Path) -> Any:
    """Return a picture's pixels, in red, green and blue.

    Raises:
        BadInput: if the file is no picture, or one of too many pixels.
        MissingExtra: if pillow is not installed.
    """
    try:
        from PIL import Image
    except ImportError:
        raise MissingExtra("pillow", "train") from None
    try:
        with Image.open(file) as picture:
            if picture.width * picture.height > MAX_PIXELS:
                raise BadInput(f"{file.name} has more than {MAX_PIXELS:,} pixels.")
            return (
                picture.convert("RGBA").convert("RGB")
                if picture.mode == "P"
                else picture.convert("RGB")
            )
    except (OSError, ValueError, Image.DecompressionBombError) as error:
        raise BadInput(f"{file.name} is not a picture that can be read: {error}.") from None


def _libraries() -> tuple[Any, Any]:
    try:
        import torch
        import transformers
    except ImportError as error:
        raise MissingExtra(error.name or "torch", "train") from None
    transformers.utils.logging.disable_progress_bar()
    return torch, transformers


def _refuse_gaps(folder: Path, loading: Mapping[str, Any]) -> None:
    missing = sorted(loading["missing_keys"])
    if missing:
        raise BadInput(f"{folder.name} lacks weights that its config.json asks for ({missing[0]}).")
    if loading.get("mismatched_keys"):
        raise BadInput(f"{folder.name} has weights whose shape contradicts its config.json.")


def pad(tokenizer: Any, rows: list[list[int]]) -> dict[str, Any]:
    """Return the token ids of a batch as one tensor [rows, longest], with its mask."""
    import torch

    longest = max(len(row) for row in rows)
    fill = tokenizer.pad_token_id or 0
    ids = torch.full((len(rows), longest), fill, dtype=torch.long)
    mask = torch.zeros((len(rows), longest), dtype=torch.long)
    for index, row in enumerate(rows):
        ids[index, : len(row)] = torch.tensor(row)
        mask[index, : len(row)] = 1
    return {"input_ids": ids, "attention_mask": mask}


@contextmanager
def limited_threads(threads: int | None) -> Iterator[None]:
    """Let torch use so many threads inside, and as many as before afterwards."""
    import torch

    before = torch.get_num_threads()
    try:
        if threads is not None:
            torch.set_num_threads(threads)
        yield
    finally:
        torch.set_num_threads(before)


def read_config(folder: Path) -> dict[str, Any]:
    """Return a model folder's config.json.

    Raises:
        BadInput: if there is none, it has no `model_type`, or it asks for code of the folder's own:
            that is never run; models of Plait's own architectures, which carry their code for
            others, are loaded with the classes that are installed.
    """
    if not folder.is_dir():
        raise BadInput(f"There is no model folder {folder}.")
    config = folder / "config.json"
    try:
        if config.stat().st_size > MAX_CONFIG_BYTES:
            raise BadInput(
                f"{folder.name} has a config.json larger than {MAX_CONFIG_BYTES:,} bytes."
            )
        content = json.loads(config.read_text("utf-8"))
    except FileNotFoundError:
        raise BadInput(f"{folder.name} is not a model: it has no config.json.") from None
    except (OSError, ValueError, RecursionError):
        raise BadInput(f"{folder.name} has a config.json that is not JSON.") from None
    if not isinstance(content, dict) or not isinstance(content.get("model_type"), str):
        raise BadInput(f"{folder.name} has a config.json without 'model_type'.")
    if "auto_map" in content and content["model_type"] not in ARCHITECTURES:
        raise BadInput(
            f"{folder.name} wants to run code of its own ('auto_map' in config.json), which "
            "is never done; use an architecture that transformers has."
        )
    return content


def _check_folder(folder: Path) -> None:
    content = read_config(folder)
    if content["model_type"] in ARCHITECTURES:
        raise BadInput(
            f"{folder.name} is no single text classifier but a model of several parts "
            f"({content['model_type']}), which only predicts."
        )
    if not any(True for pattern in VOCABULARIES for _ in folder.glob(pattern)):
        # without one transformers would make up an empty tokenizer and every word be unknown
        raise BadInput(f"{folder.name} has no tokenizer: it needs tokenizer.json.")
    _check_weights(folder, content)


def _check_weights(folder: Path, config: Mapping[str, Any]) -> None:
    if not any(folder.glob("*.safetensors")):
        pickles = [file.name for pattern in PICKLES for file in folder.glob(pattern)]
        if pickles:
            raise BadInput(
                f"{folder.name} has its weights only as {pickles[0]}, a pickle, which is never "
                "loaded; save it with safe_serialization=True."
            )
        raise BadInput(f"{folder.name} has no weights: it needs model.safetensors.")
    _check_claims(folder, config)


def _check_claims(folder: Path, config: Mapping[str, Any]) -> None:
    """Refuse a configuration whose model could not be in the files: it would fill the memory."""
    held = sum(file.stat().st_size for file in folder.glob("*.safetensors"))

    def claimed(name: str, usual: int = 0) -> int:
        value = config.get(name, usual)
        whole = isinstance(value, int) and not isinstance(value, bool)
        if value is not None and (not whole or not 0 <= value <= MAX_CLAIM):
            raise BadInput(f"{folder.name} has a config.json whose '{name}' makes no sense.")
        return value or 0

    width, layers = claimed("hidden_size"), claimed("num_hidden_layers")
    claimed("max_position_embeddings")
    for count in (
        claimed("vocab_size") * width,
        claimed("type_vocab_size") * width,
        claimed("num_labels") * width,
        layers * width * width,
        layers * width * claimed("intermediate_size"),
    ):
        if count > held:  # a weight takes a byte at the very least
            raise BadInput(
                f"{folder.name} has a config.json that claims more weights than its "
                f"{held:,} bytes of safetensors can hold."
            )


@contextmanager
def _quiet(transformers: Any) -> Iterator[None]:
    """Keep transformers' advice about missing weights off the terminal: they are checked here."""
    log = transformers.utils.logging
    before = log.get_verbosity()
    log.set_verbosity_error()
    try:
        yield
    finally:
        log.set_verbosity(before)
