"""A recipe that is trained in seconds."""

import yaml

RECIPE = {
    "name": "tiny",
    "seed": 3,
    "network": {"name": "spectrogram_cnn", "settings": {"widths": [8, 8, 8, 8], "hidden": 8}},
    "sampling": "paired",
    "echo": 2,
    "windows_per_epoch": 64,
    "augment": {"gain": 0.5, "noise": 0.3, "telephone": 0.3, "time_mask": 0.5},
    "batch_size": 16,
    "epochs": 3,
    "learning_rate": 0.01,
    "choose_on": "auc",
    "conditions": ["wideband", "g711"],
    "workers": 0,
}


def recipe_file(folder, **changes):
    """A recipe on disk."""
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(RECIPE | changes))
    return path
