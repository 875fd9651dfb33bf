#ifndef KUBEDR_BASE_HEX_H
#define KUBEDR_BASE_HEX_H

#include <optional>
#include <string>
#include <string_view>

#include "base/bytes.h"

namespace kubedr {

// Lower case, two digits a byte.
std::string to_hex(ByteView bytes);

// Lower-case digits only, as restic names files: nullopt for anything else or an odd length.
std::optional<Bytes> from_hex(std::string_view text);

// Standard alphabet with padding.
std::string to_base64(ByteView bytes);

// White space is skipped; nullopt for bytes outside the alphabet or wrong padding.
std::optional<Bytes> from_base64(std::string_view text);

}  // namespace kubedr

#endif  // KUBEDR_BASE_HEX_H
