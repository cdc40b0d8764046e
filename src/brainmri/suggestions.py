"""What was probably meant by a name that nothing has."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path

# Flags that other programs have, and ours: those of a row mean the same.
SAME = [
    {"num_train_epochs", "epochs", "num_epochs", "n_epochs", "max_epochs", "epoch"},
    {"learning_rate", "lr", "base_lr", "initial_lr"},
    {"per_device_train_batch_size", "batch_size", "batchsize", "batch", "bs", "train_batch_size"},
    {"per_device_eval_batch_size", "eval_batch_size", "val_batch_size", "test_batch_size"},
    {"arch", "model", "model_name", "model_name_or_path", "architecture", "network", "backbone", "net"},
    {"output_dir", "out", "output", "out_dir", "outdir", "save_dir", "save_path", "run_dir", "logdir", "logging_dir"},
    {"data_dir", "data", "dataset", "data_path", "dataset_name", "train_dir", "train_data_dir", "dataset_dir", "input"},
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
