"""Faults that a user can mend, one sentence for each, whatever exception a library raises, and likely meanings."""

from __future__ import annotations

import errno
import re
import shutil
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path

FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
# What stands in the messages of those that raise no OSError: safetensors; then torch.save, whose archive comes out
# shorter than it should; then numpy, which counts.
FULL_TEXT = re.compile(
    r"os error (28|122)|No space left|quota exceeded|inline_container.*(unexpected pos|file write failed)"
    r"|basic_ios::clear|PytorchStreamWriter failed|\d+ requested and \d+ written",
    re.IGNORECASE | re.DOTALL,
)
MEMORY_TEXT = re.compile(r"can't allocate memory|out of memory|Failed to allocate memory", re.IGNORECASE)
GLOO_TEXT = re.compile(
    r"Connection closed by peer|caused pair closure|Connection reset by peer|Broken pipe|Timed out waiting"
    r"|Connect timeout|gloo::",
    re.IGNORECASE,
)


class NoSpaceError(OSError):
    """A full disk: where, and how much is free."""


def disk_is_full(error: BaseException) -> bool:
    """Whether a file could not be written for want of space."""
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno in FULL
    return type(error).__name__ in ("SafetensorError", "RuntimeError", "OSError") and bool(FULL_TEXT.search(str(error)))


def out_of_memory(error: BaseException) -> bool:
    """Whether numpy, torch (on a GPU or a CPU) or ONNX Runtime could not have the memory that they asked for."""
    if isinstance(error, MemoryError):
        return True
    return isinstance(error, RuntimeError) and bool(MEMORY_TEXT.search(str(error)))  # torch.OutOfMemoryError too


def lost_process(error: BaseException) -> bool:
    """Whether torch.distributed says that another process does not answer."""
    torch = sys.modules.get("torch")
    if torch is None or not isinstance(error, RuntimeError):
        return False
    if isinstance(error, torch.distributed.DistError):  # NCCL's, and those of the store
        return True
    distributed = torch.distributed.is_available() and torch.distributed.is_initialized()
    return distributed and bool(GLOO_TEXT.search(str(error)))


def sentence(error: BaseException) -> str | None:
    """What is to be said of `error`, with its notes; None for one that is no fault of its user's or the machine's."""
    if out_of_memory(error):
        asked = re.search(r"allocate ([\d.]+ ?\w+)", str(error))
        text = "out of memory" + (f" (another {asked[1]} were needed)" if asked else "")
        notes = getattr(error, "__notes__", None) or ["close other programs, or use a machine that has more"]
        return ": ".join([text, *notes])
    if lost_process(error):
        return " ".join(["another process of this training ended", *getattr(error, "__notes__", [])])
    if disk_is_full(error) and not isinstance(error, NoSpaceError):
        place = Path(_named(error) or tempfile.gettempdir())
        error = NoSpaceError(_full(place))
    if not isinstance(error, (ValueError, OSError)):
        return None
    text = str(error)
    if isinstance(error, OSError) and error.strerror and error.filename is not None:
        text = f"{error.filename}: {error.strerror[0].lower()}{error.strerror[1:]}"
    return " ".join(" ".join([text, *getattr(error, "__notes__", [])]).split("\n"))


@contextmanager
def writing(folder: Path | str, needed: int | None = None, instead: str = "write elsewhere") -> Iterator[None]:
    """Whatever a full disk makes the libraries inside raise becomes one sentence.

    Args:
        folder: what is written into, which need not exist yet.
        needed: bytes that it takes, where that is known.
        instead: what helps besides freeing space.

    Raises:
        NoSpaceError: if there is no space for a file.
    """
    try:
        yield
    except NoSpaceError:
        raise
    except Exception as error:
        if not disk_is_full(error):
            raise
        named = _named(error)
        # Libraries write through the temporary folder too, and few say where.
        places = [Path(named)] if named else [Path(folder), Path(tempfile.gettempdir())]
        raise NoSpaceError(_full(min(places, key=free_bytes), needed, instead)) from error


@contextmanager
def reading(file: Path | str) -> Iterator[None]:
    """Whatever a damaged file, or one of another kind or version, makes a library inside raise names the file.

    Raises:
        ValueError: if its content is not as expected.
    """
    try:
        yield
    except OSError:
        raise  # which names it itself
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, EOFError) as error:
        raise ValueError(f"{file}: {_unlike(error)}") from error
    except Exception as error:
        if type(error).__module__.partition(".")[0] not in ("safetensors", "yaml", "zipfile", "pickle"):
            raise
        raise ValueError(f"{file}: {_unlike(error)}") from error


def _unlike(error: Exception) -> str:
    text = " ".join(str(error).split())
    if isinstance(error, KeyError):
        text = f"it has no {text}"
    elif isinstance(error, (IndexError, TypeError, AttributeError)):
        text = f"its content is of another kind ({text})"
    return f"damaged, or no file of this version: {text or type(error).__name__}"


@contextmanager
def advising(advice: str) -> Iterator[None]:
    """If the memory does not suffice for what is done inside, `advice` says how less of it does."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if out_of_memory(error) and not getattr(error, "__notes__", None):
            error.add_note(advice)
        raise


def _named(error: BaseException) -> str | None:
    """The file that an error is about; of a copy, the one that was to be written."""
    return getattr(error, "filename2", None) or getattr(error, "filename", None)


def free_bytes(place: Path) -> int:
    """Bytes that may be written to `place`, or to the nearest folder above it that exists."""
    return shutil.disk_usage(_existing(place)).free


def _full(place: Path, needed: int | None = None, instead: str = "write elsewhere") -> str:
    needs = f"needs {_size(needed)}, " if needed else ""
    return f"no space left in {place} ({needs}has {_size(free_bytes(place))}): free some, or {instead}"


def _existing(place: Path) -> Path:
    place = place.absolute()
    return next(folder for folder in (place, *place.parents) if folder.exists())


def _size(number: int) -> str:
    for unit, digits in (("GB", 9), ("MB", 6)):
        if number >= 10**digits:
            return f"{number / 10**digits:.1f} {unit}"
    return f"{number / 1000:.0f} kB"


# Flags that other programs have, and ours: those of a row mean the same.
SAME = [
    {"num_train_epochs", "epochs", "num_epochs", "n_epochs", "max_epochs", "epoch"},
    {"learning_rate", "lr", "base_lr", "initial_lr"},
    {"per_device_train_batch_size", "batch_size", "batchsize", "batch", "bs", "train_batch_size"},
    {"per_device_eval_batch_size", "eval_batch_size", "val_batch_size", "test_batch_size"},
    {"arch", "model", "model_name", "architecture", "network", "backbone", "net"},
    {"output_dir", "out", "output", "out_dir", "outdir", "save_dir", "save_path", "run_dir", "logdir", "logging_dir"},
    {"data_dir", "data", "data_path", "train_dir", "train_data_dir", "dataset_dir", "input"},
    {"data_dir", "dataset_name", "dataset", "hub_dataset", "dataset_id"},
    {"lr_scheduler_type", "lr_scheduler", "scheduler", "lr_schedule", "schedule"},
    {"optim", "optimizer", "optimiser", "opt"},
    {"weight_decay", "wd", "decay"},
    {"warmup_steps", "warmup_ratio", "warmup", "warmup_epochs"},
    {"dataloader_num_workers", "num_workers", "workers", "n_workers", "jobs"},
    {"gradient_accumulation_steps", "accumulation", "accumulation_steps", "grad_accum", "accumulate_grad_batches"},
    {"max_grad_norm", "clip", "clip_grad", "grad_clip", "gradient_clip_val"},
    {"label_smoothing_factor", "label_smoothing", "smoothing"},
    {"resume_from_checkpoint", "resume", "checkpoint", "ckpt", "ckpt_path"},
    {"weights", "pretrained", "init", "init_weights", "pretrained_weights", "load"},
    {"seed", "random_seed", "random_state", "rng"},
    {"folds", "kfold", "k_folds", "n_folds", "num_folds", "cv"},
    {"normalize", "normalise", "normalization"},
    {"overwrite", "overwrite_output_dir", "force", "exist_ok"},
    {"eval_strategy", "evaluation_strategy"},
    {"use_cpu", "no_cuda", "cpu", "device"},
    {"bf16", "amp", "mixed_precision", "half"},
    {"torch_compile", "compile"},
    {"push_to_hub", "push", "upload"},
    {"hub_model_id", "repo", "repo_id", "repository"},
    {"val", "validation", "val_size", "val_split", "validation_split", "val_fraction"},
    {"test", "test_size", "test_split", "test_fraction"},
    {"split_seed", "seed"},
    {"dry_run", "dry-run", "check"},
    {"positive", "positive_class", "pos_label"},
]


def near(word: str, known: Iterable[str], *, cutoff: float = 0.6) -> list[str]:
    """Up to three of the known names that are like `word`, whatever its case, `-` and `_` are; the likest first."""
    plain: dict[str, str] = {}
    for name in known:
        plain.setdefault(_plain(name), name)
    return [plain[name] for name in get_close_matches(_plain(word), plain, 3, cutoff)]


def flags_like(flag: str, known: Iterable[str]) -> list[str]:
    """Of the known flags (without dashes) those that usually mean what `flag` does, or that are spelt like it."""
    # Of two spellings of one flag the one with underscores, as the documents have it.
    names = list({_plain(name): name for name in sorted(known)}.values())
    asked = _plain(flag)
    same = [name for row in SAME if asked in row for name in names if _plain(name) in row]
    return list(dict.fromkeys(same)) or near(flag, names)


def did_you_mean(names: list[str]) -> str:
    """ ": did you mean a or b?", or nothing."""
    return f": did you mean {' or '.join(names)}?" if names else ""


def wrong_revision(repository: str, revision: str | None, kind: str = "model") -> str | None:
    """The sentence that a repository on the Hub has no such revision; None where it has, or nobody can be asked.

    Some servers of the Hub's protocol answer a wrong revision as they answer a missing file, so that the error alone
    does not tell which it is.

    Args:
        kind: "model" or "dataset".
    """
    if not revision:
        return None
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, HTTPError

    api = HfApi()
    try:
        refs = api.list_repo_refs(repository, repo_type=kind)
        names = [ref.name for ref in (*refs.branches, *refs.tags)]
        if revision not in names:
            api.repo_info(repository, repo_type=kind, revision=revision)
    except HfHubHTTPError as error:
        asked = error.response.request.url.path.split("/")
        if error.response.status_code != 404 or "revision" not in asked:  # the repository itself
            return None
        some = ", ".join(names[:5]) + ", ..." * (len(names) > 5)
        return f"{repository} has no revision {revision} (it has {some or 'none'}){did_you_mean(near(revision, names))}"
    except (HTTPError, OSError, ValueError):
        pass
    return None


def paths_like(place: Path) -> list[Path]:
    """Up to three files or folders whose names are like those of `place`, part by part."""
    if place.parent == place:
        return []
    found: list[Path] = []
    for parent in [place.parent] if place.parent.is_dir() else paths_like(place.parent):
        try:
            names = [entry.name for entry in parent.iterdir() if not entry.name.startswith(".")]
        except OSError:
            continue
        found += [parent / name for name in ([place.name] if place.name in names else near(place.name, names))]
    return found[:3]


def _plain(name: str) -> str:
    return name.lower().replace("-", "_")
