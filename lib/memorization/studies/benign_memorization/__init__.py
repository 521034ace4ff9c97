"""Anagnostidis et al. (ICLR 2023): random labels with augmentation still give useful features."""
