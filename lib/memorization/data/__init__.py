"""What is learned: images, labels, spurious features, synthetic data, augmentation."""

from memorization.data.backgrounds import Backgrounds
from memorization.data.colored_frames import FRAME_COLORS, ColoredFrames, framed_test
from memorization.data.draws import Draws, view_keys, view_labels, view_number
from memorization.data.frames import Frames, add_frames, image_task
from memorization.data.grounds import GROUNDS, GroundedDigits, ground_colors, on_ground
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
from memorization.data.strokes import STROKES, draw_digits, stroke_images
from memorization.data.structured import StructuredFeatures, StructuredSample, check_dictionary, dictionary
from memorization.data.synthetic import linear_core_task
from memorization.data.task import SpuriousTask
from memorization.data.views import from_bank, keyed_views, make_bank
from memorization.data.vision import load_torchvision

__all__ = [
    "DATASETS",
    "FRAME_COLORS",
    "GROUNDS",
    "IMAGENET_SETS",
    "IMAGENET_SHIFTS",
    "IMAGE_SETS",
    "STROKES",
    "Backgrounds",
    "ColoredFrames",
    "Draws",
    "Frames",
    "GroundedDigits",
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
    "draw_digits",
    "example_pictures",
    "framed_test",
    "from_bank",
    "generator",
    "ground_colors",
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
    "on_ground",
    "random_labels",
    "set_outputs",
    "stroke_images",
    "training_batches",
    "two_classes",
    "view_keys",
    "view_labels",
    "view_number",
]
