"""TFLite files as such: FlatBuffers, metadata. Knows no model."""
