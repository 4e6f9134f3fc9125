"""What can be wrong with settings, files and model, looked at before anything is made."""

from __future__ import annotations

from pathlib import Path

from trainers import weights
from trainers.load import check_rope, check_trackers
from trainers.rewards import rewards_of
from trainers.rows import columns
from trainers.settings import TrainSettings
from trainers.stages import STAGES, check_columns, check_settings, stage_named, stage_of


def look(settings: TrainSettings) -> tuple[str, str]:
    """Look at everything that can be wrong before anything is made. The stage, and how it was found."""
    check_rope(settings.rope_scaling)
    if settings.extend_vocab and not Path(settings.extend_vocab).is_file():
        raise ValueError(f"--extend-vocab {settings.extend_vocab}: no such file")
    check_trackers(settings.report_to)
    weights.check_weights(settings.model)
    told = [(path, columns(path)) for path in (*settings.inputs, *settings.general)]
    stages = {stage_of(names, path) for path, names in told} if settings.stage is None else {settings.stage}
    if len(stages) > 1:
        raise ValueError(f"the files are for several stages ({', '.join(sorted(stages))}); train one after the other")
    stage = stages.pop()
    stage_named(stage)
    for path, names in told:
        check_columns(stage, names, path)
    if settings.general and STAGES[stage].rows != "tokens":
        raise ValueError(f"--general: rows are added to pt and sft, not to {stage}")
    if settings.neftune is not None and STAGES[stage].rows == "prompts":
        raise ValueError(f"--neftune: noise in what is learned by heart, not in stage {stage}")
    if settings.rewards and STAGES[stage].rows != "prompts":
        raise ValueError(f"--reward: for grpo and rloo, not for {stage}")
    if STAGES[stage].rows == "prompts":
        rewards_of(settings.rewards, has_answers=any("answer" in names for _, names in told))
    if settings.set:
        check_settings(stage, settings.set)
    source = "as asked" if settings.stage else f"by the columns of {Path(settings.inputs[0]).name}"
    return stage, source
