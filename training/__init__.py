"""From recordings to a bundle: manifest, crops, augmentation, training, calibration, evaluation, export."""
