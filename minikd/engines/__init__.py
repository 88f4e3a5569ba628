"""Where and how a training step is carried out: devices, and the engines that run on them."""
