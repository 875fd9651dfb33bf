#include "base/secret.h"

#include <openssl/crypto.h>

#include <utility>

namespace kubedr {

void wipe(void* data, std::size_t size) noexcept {
  OPENSSL_cleanse(data, size);
}

Secret::Secret(std::string_view text) : text_(text) {}

Secret::Secret(std::string&& text) : text_(text) {
  wipe(text.data(), text.size());
  text.clear();
}

Secret& Secret::operator=(const Secret& other) {
  if (this != &other) *this = Secret(other);
  return *this;
}

// Short strings live inside the object, so a moved-from one still holds the text: wipe it.
Secret::Secret(Secret&& other) noexcept : text_(other.text_) {
  wipe(other.text_.data(), other.text_.size());
  other.text_.clear();
}

Secret& Secret::operator=(Secret&& other) noexcept {
  if (this == &other) return *this;
  wipe(text_.data(), text_.size());
  text_ = other.text_;
  wipe(other.text_.data(), other.text_.size());
  other.text_.clear();
  return *this;
}

Secret::~Secret() {
  wipe(text_.data(), text_.size());
}

Secret concat(std::initializer_list<std::string_view> parts) {
  std::size_t size = 0;
  for (const std::string_view part : parts) size += part.size();
  std::string text;
  text.reserve(size);
  for (const std::string_view part : parts) text += part;
  return Secret(std::move(text));
}

Secret Secret::trimmed() const {
  const std::size_t end = text_.find_last_not_of(" \t\r\n");
  return Secret(std::string_view(text_).substr(0, end == std::string::npos ? 0 : end + 1));
}

}  // namespace kubedr
