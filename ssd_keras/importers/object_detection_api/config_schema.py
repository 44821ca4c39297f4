"""The parts of the TF Object Detection API's `pipeline.proto` that describe an SSD.

The numbers of the fields are not the API's: a configuration is read as text. Defaults are those of
its `protos/*.proto`.
"""

from ssd_keras.core.protobuf import Schema, message_class

PACKAGE = "ssd_keras_object_detection_api"

# message: field:type; a type with * is repeated. Numbers of bits do not matter in texts.
MESSAGES = {
    "Pipeline": "model:Model",
    "Model": "ssd:Ssd faster_rcnn:Other center_net:Other",
    "Other": "",
    "Ssd": (
        "num_classes:int32 image_resizer:ImageResizer feature_extractor:FeatureExtractor "
        "box_coder:BoxCoder matcher:Matcher similarity_calculator:Similarity "
        "encode_background_as_zeros:bool negative_class_weight:float box_predictor:BoxPredictor "
        "anchor_generator:AnchorGenerator post_processing:PostProcessing "
        "normalize_loss_by_num_matches:bool loss:Loss normalize_loc_loss_by_codesize:bool "
        "freeze_batchnorm:bool inplace_batchnorm_update:bool add_background_class:bool"
    ),
    "ImageResizer": "fixed_shape_resizer:FixedShape keep_aspect_ratio_resizer:KeepAspectRatio",
    "FixedShape": "height:int32 width:int32 resize_method:ResizeMethod convert_to_grayscale:bool",
    "KeepAspectRatio": (
        "min_dimension:int32 max_dimension:int32 pad_to_max_dimension:bool "
        "resize_method:ResizeMethod per_channel_pad_value:float* convert_to_grayscale:bool"
    ),
    "FeatureExtractor": (
        "type:string depth_multiplier:float min_depth:int32 conv_hyperparams:Hyperparams "
        "override_base_feature_extractor_hyperparams:bool pad_to_multiple:int32 "
        "use_explicit_padding:bool use_depthwise:bool fpn:Fpn num_layers:int32 "
        "replace_preprocessor_with_placeholder:bool batch_norm_trainable:bool"
    ),
    "Fpn": "min_level:int32 max_level:int32 additional_layer_depth:int32 use_native_resize_op:bool",
    "Hyperparams": (
        "op:Op regularizer:Regularizer initializer:Initializer activation:Activation "
        "batch_norm:BatchNorm regularize_depthwise:bool force_use_bias:bool"
    ),
    "Regularizer": "l1_regularizer:Weight l2_regularizer:Weight",
    "Weight": "weight:float",
    "Initializer": (
        "truncated_normal_initializer:Normal random_normal_initializer:Normal "
        "variance_scaling_initializer:VarianceScaling"
    ),
    "Normal": "mean:float stddev:float",
    "VarianceScaling": "factor:float uniform:bool mode:ScalingMode",
    "BatchNorm": "decay:float center:bool scale:bool epsilon:float train:bool",
    "BoxCoder": (
        "faster_rcnn_box_coder:FasterRcnnCoder mean_stddev_box_coder:Other "
        "square_box_coder:Other keypoint_box_coder:Other"
    ),
    "FasterRcnnCoder": "y_scale:float x_scale:float height_scale:float width_scale:float",
    "Matcher": "argmax_matcher:ArgmaxMatcher bipartite_matcher:Other",
    "ArgmaxMatcher": (
        "matched_threshold:float unmatched_threshold:float ignore_thresholds:bool "
        "negatives_lower_than_unmatched:bool force_match_for_each_row:bool use_matmul_gather:bool"
    ),
    "Similarity": "iou_similarity:Other neg_sq_dist_similarity:Other ioa_similarity:Other",
    "BoxPredictor": (
        "convolutional_box_predictor:ConvPredictor "
        "weight_shared_convolutional_box_predictor:SharedPredictor"
    ),
    "ConvPredictor": (
        "conv_hyperparams:Hyperparams min_depth:int32 max_depth:int32 "
        "num_layers_before_predictor:int32 use_dropout:bool dropout_keep_probability:float "
        "kernel_size:int32 box_code_size:int32 apply_sigmoid_to_scores:bool "
        "class_prediction_bias_init:float use_depthwise:bool"
    ),
    "SharedPredictor": (
        "conv_hyperparams:Hyperparams num_layers_before_predictor:int32 depth:int32 "
        "kernel_size:int32 box_code_size:int32 class_prediction_bias_init:float use_dropout:bool "
        "dropout_keep_probability:float share_prediction_tower:bool use_depthwise:bool"
    ),
    "AnchorGenerator": (
        "ssd_anchor_generator:SsdAnchors multiscale_anchor_generator:MultiscaleAnchors"
    ),
    "SsdAnchors": (
        "num_layers:int32 min_scale:float max_scale:float scales:float* aspect_ratios:float* "
        "interpolated_scale_aspect_ratio:float reduce_boxes_in_lowest_layer:bool "
        "base_anchor_height:float base_anchor_width:float height_stride:int32* "
        "width_stride:int32* height_offset:int32* width_offset:int32*"
    ),
    "MultiscaleAnchors": (
        "min_level:int32 max_level:int32 anchor_scale:float aspect_ratios:float* "
        "scales_per_octave:int32 normalize_coordinates:bool"
    ),
    "PostProcessing": (
        "batch_non_max_suppression:Nms score_converter:ScoreConverter logit_scale:float"
    ),
    "Nms": (
        "score_threshold:float iou_threshold:float max_detections_per_class:int32 "
        "max_total_detections:int32 use_static_shapes:bool use_class_agnostic_nms:bool "
        "max_classes_per_detection:int32 soft_nms_sigma:float use_partitioned_nms:bool "
        "use_combined_nms:bool change_coordinate_frame:bool use_hard_nms:bool "
        "use_cpu_nms:bool"
    ),
    "Loss": (
        "localization_loss:LocalizationLoss classification_loss:ClassificationLoss "
        "hard_example_miner:Miner classification_weight:float localization_weight:float"
    ),
    "LocalizationLoss": "weighted_l2:Other weighted_smooth_l1:SmoothL1 weighted_iou:Other",
    "SmoothL1": "anchorwise_output:bool delta:float",
    "ClassificationLoss": (
        "weighted_sigmoid:Other weighted_softmax:Softmax weighted_logits_softmax:Softmax "
        "bootstrapped_sigmoid:Other weighted_sigmoid_focal:Focal"
    ),
    "Softmax": "anchorwise_output:bool logit_scale:float",
    "Focal": "anchorwise_output:bool gamma:float alpha:float",
    "Miner": (
        "num_hard_examples:int32 iou_threshold:float loss_type:MinerLoss "
        "max_negatives_per_positive:int32 min_negatives_per_image:int32"
    ),
}
ENUMS = {
    "ResizeMethod": ("BILINEAR", "NEAREST_NEIGHBOR", "BICUBIC", "AREA"),
    "Op": ("NO_OP", "CONV", "FC"),
    "Activation": ("NONE", "RELU", "RELU_6", "SWISH"),
    "ScalingMode": ("FAN_IN", "FAN_OUT", "FAN_AVG"),
    "ScoreConverter": ("IDENTITY", "SIGMOID", "SOFTMAX"),
    "MinerLoss": ("BOTH", "CLASSIFICATION", "LOCALIZATION"),
}
DEFAULTS = {
    "depth_multiplier": "1.0",
    "FeatureExtractor.min_depth": "16",
    "pad_to_multiple": "1",
    "Fpn.min_level": "3",
    "Fpn.max_level": "7",
    "additional_layer_depth": "256",
    "activation": "RELU",
    "decay": "0.999",
    "center": "true",
    "epsilon": "0.001",
    "y_scale": "10.0",
    "x_scale": "10.0",
    "height_scale": "5.0",
    "width_scale": "5.0",
    "matched_threshold": "0.5",
    "unmatched_threshold": "0.5",
    "negatives_lower_than_unmatched": "true",
    "normalize_loss_by_num_matches": "true",
    "add_background_class": "true",
    "negative_class_weight": "1.0",
    "ConvPredictor.kernel_size": "1",
    "SharedPredictor.kernel_size": "3",
    "box_code_size": "4",
    "use_dropout": "true",
    "SharedPredictor.use_dropout": "false",
    "dropout_keep_probability": "0.8",
    "num_layers": "6",
    "min_scale": "0.2",
    "max_scale": "0.95",
    "interpolated_scale_aspect_ratio": "1.0",
    "reduce_boxes_in_lowest_layer": "true",
    "base_anchor_height": "1.0",
    "base_anchor_width": "1.0",
    "MultiscaleAnchors.min_level": "3",
    "MultiscaleAnchors.max_level": "7",
    "anchor_scale": "4.0",
    "scales_per_octave": "2",
    "normalize_coordinates": "true",
    "Nms.iou_threshold": "0.6",
    "max_detections_per_class": "100",
    "max_total_detections": "100",
    "max_classes_per_detection": "1",
    "change_coordinate_frame": "true",
    "PostProcessing.logit_scale": "1.0",
    "Softmax.logit_scale": "1.0",
    "delta": "1.0",
    "gamma": "2.0",
    "classification_weight": "1.0",
    "localization_weight": "1.0",
    "num_hard_examples": "64",
    "Miner.iou_threshold": "0.7",
    "min_dimension": "600",
    "max_dimension": "1024",
    "FixedShape.height": "300",
    "FixedShape.width": "300",
}


def _rows(text: str) -> tuple[tuple[str, int, str, bool], ...]:
    fields = [field.split(":") for field in text.split()]
    return tuple(
        (name, number, kind.rstrip("*"), kind.endswith("*"))
        for number, (name, kind) in enumerate(fields, start=1)
    )


SCHEMA: Schema = {name: _rows(text) for name, text in MESSAGES.items()}
# Message class of a pipeline.config file.
Pipeline = message_class(PACKAGE, SCHEMA, "Pipeline", DEFAULTS, ENUMS)
