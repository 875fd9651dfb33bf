#ifndef KUBEDR_BASE_JSON_H
#define KUBEDR_BASE_JSON_H

#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>

namespace kubedr {

using Json = nlohmann::json;

// Parses a whole document of at most limits::kJsonDepth levels.
//
// errors   corrupt: `where: not valid JSON ...`
Json parse_json(std::string_view text, std::string_view where);

// The string at a path of object keys; nullopt where a key is missing, null or of another type.
std::optional<std::string> find_string(const Json& object, std::initializer_list<const char*> path);
std::optional<long long> find_integer(const Json& object, std::initializer_list<const char*> path);
std::optional<bool> find_bool(const Json& object, std::initializer_list<const char*> path);

// The value at a path of object keys, or nullptr.
const Json* find(const Json& object, std::initializer_list<const char*> path);

}  // namespace kubedr

#endif  // KUBEDR_BASE_JSON_H
