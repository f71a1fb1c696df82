#include "server/models/model.h"

namespace denoise {

ModelHandle WithoutWeights(const Model& model) {
  return std::make_shared<Model>(Model{model, model.id, model.version, {}, model.memory_bytes});
}

}  // namespace denoise
