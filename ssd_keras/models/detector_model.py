"""What a detector does beyond Keras: fit on endless data, detect, save and export whole."""

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Self

import keras

from ssd_keras.core.hub import is_hub_address
from ssd_keras.core.origin import Origin
from ssd_keras.data.endless import call_with_steps, data_of
from ssd_keras.data.records import DetectionData
from ssd_keras.models.method_inputs import check_arrays, check_training_data
from ssd_keras.models.save_format import check_checkpoints, check_model_path
from ssd_keras.optimizers.weight_average import average_after
from ssd_keras.version import __version__

if TYPE_CHECKING:
    from ssd_keras.drawing.result_list import DetectionResults
    from ssd_keras.drawing.results import DetectionResult


class DetectorModel(keras.Model):
    """Methods of `SSD` that only check their arguments and forward to other packages."""

    image_size: tuple[int, int]
    origin: Origin | None

    @classmethod
    def from_preset(
        cls,
        name: str | os.PathLike,
        class_names: Sequence[str] | None = None,
        *,
        image_size: tuple[int, int] | None = None,
        **options: Any,
    ) -> Self:
        """Builds a preset's model, or loads a trained one, as `ssd_keras.from_preset` does.

        Args:
            name: a preset, or a trained model: a RUN folder, a .keras file, or the address of a
                hub, hf://OWNER/REPO or kaggle://OWNER/MODEL/FRAMEWORK/VARIATION.
            class_names: names of other classes than the model's, without background.
            image_size: height and width of the input in pixels. Default None: the model's.
            **options: those of `ssd_keras.from_preset`.

        Returns:
            `SSD`.

        Raises:
            FileNotFoundError: a file or hub holds no model.
            ValueError: for an unknown preset or option, a model that is no SSD, or when weights
                cannot be downloaded.

        Example:

        >>> from ssd_keras import SSD
        >>> SSD.from_preset("ssd192_small_shapes", class_names=["star"]).class_names
        ('star',)
        """
        from ssd_keras.presets import from_preset

        model: Any = from_preset(name, class_names, image_size=image_size, **options)
        return model

    def fit(self, *args: Any, **kwargs: Any) -> Any:
        """Trains as any Keras model does.

        Of the endless stream of `ssd_keras.training_dataset`, an epoch without `steps_per_epoch`
        is one pass over the data, and so is a validation without `validation_steps`. Its data and
        their licence become the model's `origin`.

        Args:
            **kwargs: arguments of `keras.Model.fit`.

        Returns:
            `keras.callbacks.History`.

        Raises:
            ValueError: for another endless data set without its number of steps, images of
                another size or range, or a `ModelCheckpoint` in HDF5, which cannot hold an SSD.
        """
        check_checkpoints(kwargs.get("callbacks"))
        x = kwargs.get("x", args[0] if args else None)
        check_training_data(x, "x", self.image_size)
        data = data_of(x)
        if data and data != (self.origin and self.origin.data):
            version = f"ssd_keras {__version__}"
            self.origin = Origin(self.name, data=data, made_with=version, parent=self.origin)
        steps = {"x": "steps_per_epoch", "validation_data": "validation_steps"}
        return call_with_steps(keras.Model.fit, steps, (self, *args), kwargs)

    def train_step(self, *args: Any) -> Any:
        return average_after(self, super().train_step(*args))

    def evaluate(self, x: Any = None, *args: Any, **kwargs: Any) -> Any:
        """Returns VOC's and COCO's metrics of annotated images, or Keras' losses of batches.

        Args:
            x: annotated images: `DetectionData`, or the text that `load_data` takes; or batches
                of images and targets, as `fit` takes them.
            *args: for annotated images those of `ssd_keras.evaluate` after the data, for batches
                those of `keras.Model.evaluate`.
            **kwargs: the same by name. Without `steps`, the endless stream of
                `ssd_keras.training_dataset` is looked at once.

        Returns:
            The dictionary of `ssd_keras.evaluate`, or what `keras.Model.evaluate` returns.

        Raises:
            ValueError: for another endless data set without its number of steps, or annotated
                images without a class of the model.
        """
        if isinstance(x, DetectionData | str):
            from ssd_keras.engine.evaluate import evaluate

            return evaluate(self, x, *args, **kwargs)
        arguments = (self, x, *args)
        return call_with_steps(keras.Model.evaluate, {"x": "steps"}, arguments, kwargs)

    def predict(self, x: Any, *args: Any, **kwargs: Any) -> Any:
        """Returns the raw outputs for batches of images; `detect` returns detections.

        Args:
            x: RGB in 0..255 [B, H, W, 3] of the model's size, or a data set of such batches.
            *args: other arguments of `keras.Model.predict`.
            **kwargs: the same by name.

        Returns:
            "box_deltas" float32 [B, N, 4] and "class_logits" float32 [B, N, 1 + classes].

        Raises:
            ValueError: for files, Pillow's images and data sets of annotated images.
        """
        check_arrays(x, "predict")
        return super().predict(x, *args, **kwargs)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        check_arrays(args[0] if args else None, "the model")
        return super().__call__(*args, **kwargs)

    def detect(
        self,
        images: Any,
        batch_size: int = 8,
        *,
        tiles: int | Sequence[int] | None = None,
        tile_overlap: float = 0.2,
        score_threshold: float | None = None,
        progress: bool | None = None,
    ) -> "DetectionResult | DetectionResults":
        """Detects objects in images of any sizes, which are resized to the model's input.

        Args:
            images: one image or several, as of `ssd_keras.detect`: paths, addresses, Pillow's
                images, bytes, arrays in 0..255, folders, patterns, data sets.
            batch_size: images, or tiles of an image, of one forward pass. Default 8.
            tiles: side of a tile in pixels of the image, or (height, width), 16 or more: the model
                sees each image whole and tile by tile, for small objects in large images. Default
                None: whole alone.
            tile_overlap: smallest share of a tile that its neighbours show too, 0..0.9. Default
                0.2.
            score_threshold: smallest score of results, 0..1. Default None: that of `post_process`.
            progress: show a progress bar. Default None: for more than one batch, in terminals and
                notebooks.

        Returns:
            a `ssd_keras.DetectionResult` for one image, a list of them for several: `boxes`
            relative yxyx [n, 4], `scores` [n] falling, `labels` [n], `class_names`, `plot()`,
            `to_json()` and more. An index gives one detection.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: an image cannot be read, an array is no image in 0..255, or an argument is
                out of range.
        """
        from ssd_keras.engine.detector import detect

        options: dict[str, Any] = {"tiles": tiles, "tile_overlap": tile_overlap}
        options |= {"score_threshold": score_threshold, "progress": progress}
        return detect(self, images, batch_size, **options)

    def save(
        self, filepath: Any, overwrite: bool = True, zipped: bool | None = None, **kwargs: Any
    ) -> None:
        """Saves the model like any Keras model, as a `.keras` file, or into a repository.

        Args:
            filepath: path that ends in ".keras"; or hf://OWNER/REPO, a repository of Hugging Face,
                which gets a model card too. It is made where there is none, and its README.md is
                replaced; the repository keeps the earlier one.
            overwrite: replace a file without asking. Default True.
            zipped: False writes a folder. Default None: a file.
            **kwargs: other arguments of `keras.Model.save`.

        Raises:
            ValueError: for another ending, such as that of HDF5, which cannot hold an SSD, or when
                the repository cannot be written.
        """
        if is_hub_address(str(filepath)):
            from ssd_keras.models.model_card import save_to_hub

            save_to_hub(self, str(filepath))
            return
        if zipped is not False:
            check_model_path(filepath)
        super().save(filepath, overwrite=overwrite, zipped=zipped, **kwargs)

    def export(
        self,
        filepath: Any,
        format: str = "tf_saved_model",
        verbose: bool | None = None,
        **options: Any,
    ) -> None:
        """Exports the whole detector: network, decoding, NMS and class names.

        Args:
            filepath: path of the artefact: a folder, or a file with the format's suffix.
            format: Keras' name of a format, default "tf_saved_model". `ssd-keras info formats`
                lists those that hold the whole detector; Keras' others export the raw outputs.
            verbose: print what was written and how it compares with this model. Default None,
                which prints.
            **options: post_process, a `PostProcess`, default the model's own. images, uint8
                [H, W, 3] like those that it will see: the first four are for the check (default
                generated ones), "int8" is calibrated on all. Others are of the format, as listed.

        Raises:
            ValueError: for an unknown option, or when the exported model fails its check.
        """
        from ssd_keras.exporters.formats import FORMATS

        names = {row.keras_name: row.name for row in FORMATS.values()}
        if format not in names:
            super().export(filepath, format=format, verbose=verbose, **options)
            return
        from ssd_keras.exporters.export import export

        report = export(self, str(filepath), names[format], **options)
        if verbose is None or verbose:
            print(report)
