"""What is learned: images, labels, spurious features, synthetic data, augmentation."""
