#include "base/json.h"

#include <fmt/core.h>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/limits.h"

namespace kubedr {

Json parse_json(std::string_view text, std::string_view where) {
  // The parser is iterative, but a value nested a million deep would be freed by recursion.
  bool too_deep = false;
  const auto guard = [&](int depth, Json::parse_event_t event, Json&) {
    const bool opens =
        event == Json::parse_event_t::object_start || event == Json::parse_event_t::array_start;
    if (opens && static_cast<std::size_t>(depth) >= limits::kJsonDepth) too_deep = true;
    return !too_deep;
  };
  try {
    Json value = Json::parse(text, guard);
    if (too_deep) {
      throw Error(ErrorKind::corrupt, std::string(where) + ": not valid JSON: nested too deeply");
    }
    return value;
  } catch (const Json::parse_error& error) {
    // Its own words quote what they stopped at, which may be a Secret's value.
    throw Error(ErrorKind::corrupt,
                fmt::format("{}: not valid JSON at byte {}", where, error.byte));
  } catch (const Json::exception&) {
    throw Error(ErrorKind::corrupt, fmt::format("{}: not valid JSON: an impossible number", where));
  }
}

const Json* find(const Json& object, std::initializer_list<const char*> path) {
  const Json* at = &object;
  for (const char* key : path) {
    if (!at->is_object()) return nullptr;
    const auto found = at->find(key);
    if (found == at->end()) return nullptr;
    at = &*found;
  }
  return at;
}

std::optional<std::string> find_string(const Json& object,
                                       std::initializer_list<const char*> path) {
  const Json* value = find(object, path);
  if (value == nullptr || !value->is_string()) return std::nullopt;
  return value->get<std::string>();
}

std::optional<long long> find_integer(const Json& object, std::initializer_list<const char*> path) {
  const Json* value = find(object, path);
  if (value == nullptr || !value->is_number_integer()) return std::nullopt;
  return value->get<long long>();
}

std::optional<bool> find_bool(const Json& object, std::initializer_list<const char*> path) {
  const Json* value = find(object, path);
  if (value == nullptr || !value->is_boolean()) return std::nullopt;
  return value->get<bool>();
}

}  // namespace kubedr
