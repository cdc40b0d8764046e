"""How far a model's answers hold when the same pictures are turned, blurred, noisy, cut or otherwise worse."""

IMAGES = 400  # that are corrupted unless asked otherwise: 35 passes over more take long on a CPU
