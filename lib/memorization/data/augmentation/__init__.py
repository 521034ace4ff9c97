"""Views of images: policies, and the operations they are made of."""
