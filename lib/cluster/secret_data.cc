#include "cluster/secret_data.h"

#include <fmt/core.h>

#include <functional>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/hex.h"
#include "base/limits.h"

namespace kubedr::cluster {
namespace {

constexpr char kCorrect[] =
    "correct the Secret: data holds base64, stringData what it stands for, both by key";

class Reader {
 public:
  explicit Reader(const Json& object)
      : object_(object), name_(find_string(object, {"metadata", "name"}).value_or("")) {}

  SecretData read() {
    each("data", [&](const std::string& key, const std::string& text) {
      std::optional<Bytes> bytes = from_base64(text);
      if (!bytes) fail("data", key, "not base64");
      values_[key] = Secret(as_text(*bytes));
      wipe(bytes->data(), bytes->size());
    });
    each("stringData",
         [&](const std::string& key, const std::string& text) { values_[key] = Secret(text); });
    return std::move(values_);
  }

 private:
  [[noreturn]] void fail(const char* field, const std::string& key, const char* why) const {
    throw Error(ErrorKind::usage, fmt::format("secret/{}: {}.{}: {}", name_, field, key, why),
                kCorrect);
  }

  using Take = std::function<void(const std::string& key, const std::string& text)>;

  void each(const char* field, const Take& take) const {
    const Json* values = find(object_, {field});
    if (values == nullptr || values->is_null()) return;
    if (!values->is_object()) {
      throw Error(ErrorKind::usage, fmt::format("secret/{}: {}: must be a map", name_, field),
                  kCorrect);
    }
    for (const auto& [key, value] : values->items()) {
      if (value.is_null()) continue;
      if (!value.is_string()) fail(field, key, "must be a string (in quotes)");
      const auto& text = value.get_ref<const std::string&>();
      if (text.size() > 2 * limits::kSecretBytes) fail(field, key, "too large");
      take(key, text);
    }
  }

  const Json& object_;
  const std::string name_;
  SecretData values_;
};

}  // namespace

SecretData parse_secret(const Json& object) {
  return Reader(object).read();
}

Json make_secret(const std::string& name_space, const std::string& name, const SecretData& data) {
  Json values = Json::object();
  for (const auto& [key, value] : data) values[key] = to_base64(as_bytes(value.reveal()));
  return {{"apiVersion", "v1"},
          {"kind", "Secret"},
          {"metadata", {{"name", name}, {"namespace", name_space}}},
          {"type", "Opaque"},
          {"data", values}};
}

}  // namespace kubedr::cluster
