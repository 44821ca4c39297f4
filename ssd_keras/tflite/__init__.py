"""TFLite files: FlatBuffers and metadata, without knowledge of any model."""
