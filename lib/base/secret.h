#ifndef KUBEDR_BASE_SECRET_H
#define KUBEDR_BASE_SECRET_H

#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>

#include "base/bytes.h"

namespace kubedr {

// Text that must not be seen: wiped when it goes, and without any way to print it.
class Secret {
 public:
  Secret() = default;
  explicit Secret(std::string_view text);

  explicit Secret(const char* text) : Secret(std::string_view(text)) {}

  explicit Secret(std::string&& text);  // which is wiped: nothing of a temporary stays
  Secret(const Secret&) = default;
  Secret& operator=(const Secret& other);
  Secret(Secret&& other) noexcept;
  Secret& operator=(Secret&& other) noexcept;
  ~Secret();

  // For the one call that needs it; never into a log, an error or a longer-lived string.
  std::string_view reveal() const { return text_; }

  bool empty() const { return text_.empty(); }

  // Without white space at its end; access keys are trimmed, passwords are not (see repo/key.h).
  Secret trimmed() const;

  friend bool operator==(const Secret&, const Secret&) = default;

 private:
  std::string text_;
};

// One text of several, without a copy of any that stays.
Secret concat(std::initializer_list<std::string_view> parts);

// Overwrites memory in a way that the compiler keeps.
void wipe(void* data, std::size_t size) noexcept;

// Bytes that must not stay in memory.
struct WipedBytes {
  Bytes bytes;

  WipedBytes() = default;

  explicit WipedBytes(Bytes&& taken) : bytes(std::move(taken)) {}

  WipedBytes(const WipedBytes&) = delete;
  WipedBytes& operator=(const WipedBytes&) = delete;

  ~WipedBytes() { wipe(bytes.data(), bytes.size()); }
};

}  // namespace kubedr

#endif  // KUBEDR_BASE_SECRET_H
