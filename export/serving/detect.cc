// Detects objects in image files with a SavedModel, by TF Serving's loader and without Python.
//
//   detect SAVED_MODEL [SIGNATURE] FILE...
//
// SIGNATURE is serving_default (image files), tf_example (image files, sent as tf.train.Example) or
// image_tensor (binary PPM files of one size). All files are one batch. For each detection a line is
// printed: file, class, score, top, left, bottom, right in 0..1, with tabs between them; for a file
// that the model cannot read: file, "invalid". README.md has the command that builds it.

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <iostream>
#include <iterator>
#include <string>
#include <unordered_set>
#include <vector>

#include "tensorflow/cc/saved_model/loader.h"
#include "tensorflow/core/example/example.pb.h"
#include "tensorflow/core/example/feature.pb.h"
#include "tensorflow/core/framework/tensor.h"
#include "tensorflow/core/public/session.h"
#include "tensorflow/core/public/session_options.h"

using tensorflow::Tensor;
using tensorflow::TensorShape;
using tensorflow::tstring;

namespace {

int Fail(const std::string& message) {
  std::cerr << "error: " << message << "\n";
  return 2;
}

bool ReadFile(const std::string& path, std::string* content) {
  std::ifstream file(path, std::ios::binary);
  content->assign(std::istreambuf_iterator<char>(file), {});
  return file.is_open() && !file.bad();
}

std::string AsExample(const std::string& image) {
  tensorflow::Example example;
  auto& features = *example.mutable_features()->mutable_feature();
  features["image/encoded"].mutable_bytes_list()->add_value(image);
  return example.SerializeAsString();
}

// The pixels of a binary PPM file without comments: "P6 width height 255", one space, RGB.
bool ReadPpm(const std::string& content, int* height, int* width, std::string* pixels) {
  int offset = 0;
  if (std::sscanf(content.c_str(), "P6 %d %d 255%n", width, height, &offset) != 2 || !offset) {
    return false;
  }
  *pixels = content.substr(offset + 1);
  return *width > 0 && *height > 0 && pixels->size() == size_t{3} * *width * *height;
}

// Returns a batch of the signature's kind; an empty text in `error` where it succeeds.
Tensor Batch(const std::string& signature, const std::vector<std::string>& paths,
             std::string* error) {
  const int64_t count = paths.size();
  Tensor batch(tensorflow::DT_STRING, TensorShape({count}));
  for (int64_t index = 0; index < count; ++index) {
    std::string content, pixels;
    int height, width;
    if (!ReadFile(paths[index], &content)) {
      *error = "'" + paths[index] + "' cannot be read; expected an image file";
      return batch;
    }
    if (signature != "image_tensor") {
      batch.vec<tstring>()(index) = signature == "tf_example" ? AsExample(content) : content;
      continue;
    }
    if (!ReadPpm(content, &height, &width, &pixels)) {
      *error = "'" + paths[index] + "' is not a binary PPM file (P6) of 8 bits; convert it";
      return batch;
    }
    const TensorShape shape({count, height, width, 3});
    if (index == 0) batch = Tensor(tensorflow::DT_UINT8, shape);
    if (batch.shape() != shape) {
      *error = "'" + paths[index] + "' has another size than the first image; resize it";
      return batch;
    }
    std::copy(pixels.begin(), pixels.end(), batch.flat<uint8_t>().data() + index * pixels.size());
  }
  return batch;
}

void Print(const std::vector<std::string>& paths, const std::vector<Tensor>& outputs) {
  const auto boxes = outputs[0].tensor<float, 3>();
  const auto scores = outputs[1].matrix<float>();
  const auto names = outputs[2].matrix<tstring>();
  const auto counts = outputs[3].vec<int32_t>();
  const auto is_valid = outputs[4].vec<bool>();
  for (size_t row = 0; row < paths.size(); ++row) {
    if (!is_valid(row)) std::printf("%s\tinvalid\n", paths[row].c_str());
    for (int slot = 0; slot < counts(row); ++slot) {
      std::printf("%s\t%s\t%.9g\t%.9g\t%.9g\t%.9g\t%.9g\n", paths[row].c_str(),
                  std::string(names(row, slot)).c_str(), scores(row, slot), boxes(row, slot, 0),
                  boxes(row, slot, 1), boxes(row, slot, 2), boxes(row, slot, 3));
    }
  }
}

}  // namespace

int main(int argc, char** argv) {
  std::vector<std::string> paths(argv + std::min(argc, 2), argv + argc);
  std::string signature = "serving_default", error;
  const std::unordered_set<std::string> others = {"serving_default", "tf_example", "image_tensor"};
  if (!paths.empty() && others.count(paths[0])) {
    signature = paths[0];
    paths.erase(paths.begin());
  }
  if (paths.empty()) return Fail("usage: detect SAVED_MODEL [SIGNATURE] FILE...");

  tensorflow::SavedModelBundle model;
  auto status = tensorflow::LoadSavedModel({}, {}, argv[1], {"serve"}, &model);
  if (!status.ok()) return Fail(std::string(status.message()));
  const auto found = model.GetSignatures().find(signature);
  if (found == model.GetSignatures().end()) {
    return Fail(std::string(argv[1]) + " has no signature " + signature + "; export it again");
  }
  const auto& definition = found->second;
  const Tensor batch = Batch(signature, paths, &error);
  if (!error.empty()) return Fail(error);

  std::vector<std::string> fetches;
  for (const char* name : {"detection_boxes", "detection_scores", "detection_class_names",
                           "num_detections", "image_is_valid"}) {
    fetches.push_back(definition.outputs().at(name).name());
  }
  std::vector<Tensor> outputs;
  status = model.GetSession()->Run({{definition.inputs().begin()->second.name(), batch}}, fetches, {},
                                   &outputs);
  if (!status.ok()) return Fail(std::string(status.message()));
  Print(paths, outputs);
  return 0;
}
