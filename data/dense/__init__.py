"""Images with masks or boxes: layouts of files, augmentation that moves both with the image, and batches."""
