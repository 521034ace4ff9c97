"""What is learned: images, labels, spurious features, synthetic data, augmentation."""

from memorization.data.backgrounds import Backgrounds
from memorization.data.draws import Draws, view_keys, view_labels, view_number
from memorization.data.frames import Frames, add_frames, image_task
from memorization.data.image_points import image_points
from memorization.data.image_sets import IMAGE_SETS, ImageSet, as_image_set, image_set
from memorization.data.imagenet import (
    IMAGENET_SETS,
    IMAGENET_SHIFTS,
    PictureSet,
    class_numbers,
    imagenet_set,
    set_outputs,
)
from memorization.data.images import DATASETS, Images, data_root, load_images, two_classes
from memorization.data.labelled_pictures import LabelledPictures, labelled_pictures
from memorization.data.labels import class_groups, random_labels
from memorization.data.large_pictures import Preparation, central_batches, training_batches
from memorization.data.memorized_split import MemorizedSplit, memorized_split
from memorization.data.mixing import cutmix, mixup
from memorization.data.pictures import example_pictures
from memorization.data.policies import Policy, augmentation
from memorization.data.recipes import Recipe as PolicyRecipe
from memorization.data.seeds import generator
from memorization.data.structured import StructuredFeatures, StructuredSample, check_dictionary, dictionary
from memorization.data.synthetic import linear_core_task
from memorization.data.task import SpuriousTask
from memorization.data.views import from_bank, keyed_views, make_bank
from memorization.data.vision import load_torchvision

__all__ = [
    "DATASETS",
    "IMAGENET_SETS",
    "IMAGENET_SHIFTS",
    "IMAGE_SETS",
    "Backgrounds",
    "Draws",
    "Frames",
    "ImageSet",
    "Images",
    "LabelledPictures",
    "MemorizedSplit",
    "PictureSet",
    "Policy",
    "PolicyRecipe",
    "Preparation",
    "SpuriousTask",
    "StructuredFeatures",
    "StructuredSample",
    "add_frames",
    "as_image_set",
    "augmentation",
    "central_batches",
    "check_dictionary",
    "class_groups",
    "class_numbers",
    "cutmix",
    "data_root",
    "dictionary",
    "example_pictures",
    "from_bank",
    "generator",
    "image_points",
    "image_set",
    "image_task",
    "imagenet_set",
    "keyed_views",
    "labelled_pictures",
    "linear_core_task",
    "load_images",
    "load_torchvision",
    "make_bank",
    "memorized_split",
    "mixup",
    "random_labels",
    "set_outputs",
    "training_batches",
    "two_classes",
    "view_keys",
    "view_labels",
    "view_number",
]
