#include "base/yaml.h"

#include <fmt/core.h>
#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <nlohmann/json.hpp>
#include <regex>
#include <sstream>

#include "base/error.h"
#include "base/limits.h"
#include "base/text.h"

namespace kubedr {
namespace {

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

bool is_one_of(std::string_view text, std::initializer_list<std::string_view> words) {
  return std::find(words.begin(), words.end(), text) != words.end();
}

bool is_null(std::string_view text) {
  return is_one_of(text, {"", "~", "null", "Null", "NULL"});
}

bool is_true(std::string_view text) {
  return is_one_of(text, {"true", "True", "TRUE"});
}

bool is_false(std::string_view text) {
  return is_one_of(text, {"false", "False", "FALSE"});
}

std::optional<Json> integer_of(std::string_view digits, int base) {
  if (base != 10 && digits.starts_with('-')) return std::nullopt;
  std::int64_t number = 0;
  const char* end = digits.data() + digits.size();
  const auto [at, error] = std::from_chars(digits.data(), end, number, base);
  if (at != end) return std::nullopt;
  if (error == std::errc()) return Json(number);
  std::uint64_t large = 0;
  const auto [large_at, large_error] = std::from_chars(digits.data(), end, large, base);
  if (large_at != end || large_error != std::errc()) return std::nullopt;
  return Json(large);
}

// [-+]? [0-9]+ ( . [0-9]* )? ( e [-+]? [0-9]+ )?, or a fraction that starts with its dot.
bool looks_decimal(std::string_view text) {
  std::size_t at = 0;
  const auto skip_sign = [&] {
    if (at < text.size() && (text[at] == '-' || text[at] == '+')) ++at;
  };
  const auto skip_digits = [&] {
    const std::size_t begin = at;
    while (at < text.size() && is_digit(text[at])) ++at;
    return at - begin;
  };
  skip_sign();
  std::size_t digits = skip_digits();
  if (at < text.size() && text[at] == '.') {
    ++at;
    digits += skip_digits();
  }
  if (digits == 0) return false;
  if (at < text.size() && (text[at] == 'e' || text[at] == 'E')) {
    ++at;
    skip_sign();
    if (skip_digits() == 0) return false;
  }
  return at == text.size();
}

bool is_infinity_or_nan(std::string_view text) {
  if (!text.empty() && (text[0] == '-' || text[0] == '+')) text.remove_prefix(1);
  return is_one_of(text, {".inf", ".Inf", ".INF", ".nan", ".NaN", ".NAN"});
}

std::optional<Json> number_of(std::string_view text) {
  if (text.starts_with("0x")) return integer_of(text.substr(2), 16);
  if (text.starts_with("0o")) return integer_of(text.substr(2), 8);
  if (!looks_decimal(text)) return std::nullopt;
  if (text[0] == '+') text.remove_prefix(1);
  if (text.find_first_of(".eE") == std::string_view::npos) {
    if (auto integer = integer_of(text, 10)) return integer;
  }
  double number = 0;
  const auto [at, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || !std::isfinite(number)) return std::nullopt;
  return Json(number);
}

constexpr char kMend[] = "correct the file at that line";

// yaml-cpp shares the nodes of an alias; as JSON each use is a copy. Nine lines of aliases to
// aliases would make a billion, and one long text does with few of them.
class Converter {
 public:
  explicit Converter(std::string_view where) : where_(where) {}

  Json convert(const YAML::Node& node, std::size_t depth) {
    if (depth > limits::kJsonDepth) fail(node, "nested too deeply");
    if (++values_ > limits::kYamlValues) fail(node, "too many values or aliases");
    switch (node.Type()) {
    case YAML::NodeType::Map:
      return map(node, depth);
    case YAML::NodeType::Sequence:
      return sequence(node, depth);
    case YAML::NodeType::Scalar:
      return scalar(node);
    case YAML::NodeType::Null:
    case YAML::NodeType::Undefined:
      return nullptr;
    }
    return nullptr;
  }

 private:
  [[noreturn]] void fail(const YAML::Node& node, const std::string& why) const {
    throw Error(ErrorKind::usage, fmt::format("{}: line {}: {}", where_, node.Mark().line + 1, why),
                kMend);
  }

  // Before it is copied.
  const std::string& text_of(const YAML::Node& node) {
    const std::string& text = node.Scalar();
    text_bytes_ += text.size();
    if (text_bytes_ > limits::kYamlText) fail(node, "too much text, or too many aliases of it");
    return text;
  }

  Json sequence(const YAML::Node& node, std::size_t depth) {
    Json array = Json::array();
    for (const YAML::Node& item : node) array.push_back(convert(item, depth + 1));
    return array;
  }

  Json map(const YAML::Node& node, std::size_t depth) {
    Json object = Json::object();
    std::vector<YAML::Node> merged;
    for (const auto& entry : node) {
      if (!entry.first.IsScalar() && !entry.first.IsNull()) fail(entry.first, "a key must be text");
      const std::string key = entry.first.IsNull() ? "null" : text_of(entry.first);
      if (key == "<<" && entry.first.Tag() == "?") {
        merged.push_back(entry.second);
        continue;
      }
      if (object.contains(key)) fail(entry.first, "the key \"" + key + "\" is there twice");
      object[key] = convert(entry.second, depth + 1);
    }
    for (const YAML::Node& source : merged) merge(object, source, depth);
    return object;
  }

  // What the map has itself wins over what it merges, the first merged over the next.
  void merge(Json& object, const YAML::Node& source, std::size_t depth) {
    if (source.IsSequence()) {
      for (const YAML::Node& item : source) merge_one(object, item, depth);
      return;
    }
    merge_one(object, source, depth);
  }

  void merge_one(Json& object, const YAML::Node& source, std::size_t depth) {
    if (!source.IsMap()) fail(source, "\"<<\" needs a map");
    const Json merged = convert(source, depth + 1);
    for (const auto& [key, value] : merged.items()) {
      if (!object.contains(key)) object[key] = value;
    }
  }

  Json scalar(const YAML::Node& node) {
    const std::string& tag = node.Tag();
    const std::string& text = text_of(node);
    if (tag == "!" || tag == "tag:yaml.org,2002:str") return text;
    const bool plain = tag == "?" || tag.empty() ||
                       is_one_of(tag, {"tag:yaml.org,2002:int", "tag:yaml.org,2002:float",
                                       "tag:yaml.org,2002:bool", "tag:yaml.org,2002:null"});
    if (!plain) fail(node, "the tag \"" + tag + "\" is not supported");
    if (is_null(text)) return nullptr;
    if (is_true(text)) return true;
    if (is_false(text)) return false;
    if (is_infinity_or_nan(text)) fail(node, "infinity and NaN are not supported");
    if (auto number = number_of(text)) return *number;
    return text;
  }

  const std::string where_;
  std::size_t values_ = 0;
  std::size_t text_bytes_ = 0;
};

void take_apart(Json document, std::vector<Json>& documents) {
  if (document.is_null()) return;
  const Json* items = find(document, {"items"});
  if (find_string(document, {"kind"}) != "List" || items == nullptr || !items->is_array()) {
    documents.push_back(std::move(document));
    return;
  }
  for (const Json& item : *items) take_apart(item, documents);
}

// JSON is YAML, but not to yaml-cpp where it is indented by tabs.
std::optional<Json> as_json(std::string_view text, std::string_view where) {
  if (!trim(text.substr(0, 4096)).starts_with('{') || !Json::accept(text)) return std::nullopt;
  try {
    return parse_json(text, where);
  } catch (const Error& error) {
    throw Error(ErrorKind::usage, error.what());
  }
}

void require_utf8(std::string_view text, std::string_view where) {
  try {
    static_cast<void>(Json(text).dump());
  } catch (const Json::exception&) {
    throw Error(ErrorKind::usage, fmt::format("{}: not UTF-8 text", where),
                "save the file as UTF-8");
  }
}

// ---- writing

// What some reader of YAML 1.1 or 1.2 takes for another type than a string: kubectl reads by 1.1.
bool reads_as_another_type(const std::string& text) {
  static const std::regex kOther(
      "[-+]?(0x[0-9a-fA-F_]+|0o[0-7_]+|0b[01_]+|[0-9][0-9_]*(:[0-5]?[0-9])+(\\.[0-9_]*)?)|"
      "[-+]?(\\.[0-9][0-9_]*|[0-9][0-9_]*(\\.[0-9_]*)?)([eE][-+]?[0-9]+)?|"
      "[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}([Tt ].*)?");
  const std::string lower = to_lower(text);
  if (is_null(lower) || is_infinity_or_nan(lower)) return true;
  if (is_one_of(lower, {"true", "false", "yes", "no", "on", "off", "y", "n", "<<", "="})) {
    return true;
  }
  const char first = text[0];
  if (!is_digit(first) && first != '-' && first != '+' && first != '.') return false;
  return text.size() < 64 && std::regex_match(text, kOther);
}

// Control characters, and what YAML 1.1 takes for a line break.
bool needs_escapes(std::string_view text) {
  const auto is_control = [](char c) {
    const auto byte = static_cast<unsigned char>(c);
    return (byte < 0x20 && c != '\n' && c != '\t') || byte == 0x7F;
  };
  if (std::any_of(text.begin(), text.end(), is_control)) return true;
  for (const std::string_view odd : {"\xC2\x85", "\xE2\x80\xA8", "\xE2\x80\xA9", "\xEF\xBB\xBF"}) {
    if (text.find(odd) != std::string_view::npos) return true;
  }
  return false;
}

bool plain_syntax(std::string_view text) {
  if (text.empty() || text.front() == ' ' || text.back() == ' ' || text.back() == ':') return false;
  if (std::string_view(",[]{}#&*!|>'\"%@`").find(text[0]) != std::string_view::npos) return false;
  if (std::string_view("-?:").find(text[0]) != std::string_view::npos &&
      (text.size() == 1 || text[1] == ' ')) {
    return false;
  }
  if (text.starts_with("---") || text.starts_with("...")) return false;
  return text.find(": ") == std::string_view::npos && text.find(" #") == std::string_view::npos &&
         text.find_first_of("\t\n") == std::string_view::npos;
}

std::string single_quoted(std::string_view text) {
  std::string quoted = "'";
  for (const char c : text) {
    if (c == '\'') quoted += '\'';
    quoted += c;
  }
  return quoted + "'";
}

std::string double_quoted(std::string_view text) {
  std::string quoted = "\"";
  for (std::size_t at = 0; at < text.size(); ++at) {
    const char c = text[at];
    const auto byte = static_cast<unsigned char>(c);
    const std::string_view rest = text.substr(at);
    if (c == '"' || c == '\\') {
      quoted += '\\';
      quoted += c;
    } else if (c == '\n') {
      quoted += "\\n";
    } else if (c == '\t') {
      quoted += "\\t";
    } else if (byte < 0x20 || byte == 0x7F) {
      quoted += fmt::format("\\x{:02X}", byte);
    } else if (rest.starts_with("\xC2\x85")) {
      quoted += "\\x85";
      at += 1;
    } else if (rest.starts_with("\xE2\x80\xA8") || rest.starts_with("\xE2\x80\xA9")) {
      quoted += rest[2] == '\xA8' ? "\\u2028" : "\\u2029";
      at += 2;
    } else if (rest.starts_with("\xEF\xBB\xBF")) {
      quoted += "\\uFEFF";
      at += 2;
    } else {
      quoted += c;
    }
  }
  return quoted + "\"";
}

std::string one_line(const std::string& text) {
  if (text.empty()) return "\"\"";
  if (needs_escapes(text) || text.find_first_of("\t\n") != std::string::npos) {
    return double_quoted(text);
  }
  if (reads_as_another_type(text)) return double_quoted(text);
  return plain_syntax(text) ? text : single_quoted(text);
}

// A literal block needs an explicit indentation where the text begins with blanks or a line break.
bool fits_literal(std::string_view text) {
  return text.find('\n') != std::string_view::npos && !needs_escapes(text) &&
         std::string_view(" \t\n").find(text[0]) == std::string_view::npos;
}

class Emitter {
 public:
  std::string text;

  // `indent` is that of the lines the value may start; `text` ends where the value begins.
  void value(const Json& json, std::size_t indent) {
    if (json.is_object() && !json.empty()) {
      object(json, indent);
    } else if (json.is_array() && !json.empty()) {
      array(json, indent);
    } else {
      scalar(json, indent);
    }
  }

 private:
  void object(const Json& json, std::size_t indent) {
    bool first = true;
    for (const auto& [key, member] : json.items()) {
      if (!first) text.append(indent, ' ');
      first = false;
      text += one_line(key) + ":";
      if (member.is_structured() && !member.empty()) {
        // A list stands below its key without indentation, as kubectl writes it.
        const std::size_t inner = member.is_array() ? indent : indent + 2;
        text += '\n';
        text.append(inner, ' ');
        value(member, inner);
      } else {
        text += ' ';
        scalar(member, indent + 2);
      }
    }
  }

  void array(const Json& json, std::size_t indent) {
    bool first = true;
    for (const Json& item : json) {
      if (!first) text.append(indent, ' ');
      first = false;
      text += "- ";
      value(item, indent + 2);
    }
  }

  void scalar(const Json& json, std::size_t indent) {
    if (!json.is_string()) {
      text += json.dump() + "\n";
      return;
    }
    const auto& string = json.get_ref<const std::string&>();
    if (!string.empty() && fits_literal(string)) {
      literal(string, std::max<std::size_t>(indent, 2));
    } else {
      text += one_line(string) + "\n";
    }
  }

  void literal(const std::string& string, std::size_t indent) {
    const std::size_t end = string.find_last_not_of('\n') + 1;
    const std::size_t breaks = string.size() - end;
    text += breaks == 0 ? "|-\n" : breaks == 1 ? "|\n" : "|+\n";
    for (const std::string& line : split(std::string_view(string).substr(0, end), '\n')) {
      if (!line.empty()) text.append(indent, ' ').append(line);
      text += '\n';
    }
    if (breaks > 1) text.append(breaks - 1, '\n');
  }
};

// Looks at the events of a text before nodes are made of them. A stray comma between documents
// makes yaml-cpp 0.7 find empty documents for ever, and deep nesting its parser recurse: both end
// here.
class Preview final : public YAML::EventHandler {
 public:
  void OnDocumentStart(const YAML::Mark& mark) override {
    if (++documents_ > kMaxDocuments) fail(mark, "too many documents");
  }

  void OnDocumentEnd() override {}

  void OnNull(const YAML::Mark&, YAML::anchor_t) override {}

  void OnAlias(const YAML::Mark&, YAML::anchor_t) override {}

  void OnScalar(const YAML::Mark&, const std::string&, YAML::anchor_t,
                const std::string&) override {}

  void OnSequenceStart(const YAML::Mark& mark, const std::string&, YAML::anchor_t,
                       YAML::EmitterStyle::value) override {
    enter(mark);
  }

  void OnSequenceEnd() override { --depth_; }

  void OnMapStart(const YAML::Mark& mark, const std::string&, YAML::anchor_t,
                  YAML::EmitterStyle::value) override {
    enter(mark);
  }

  void OnMapEnd() override { --depth_; }

 private:
  static constexpr std::size_t kMaxDocuments = 10'000;

  void enter(const YAML::Mark& mark) {
    if (++depth_ > limits::kJsonDepth) fail(mark, "nested too deeply");
  }

  [[noreturn]] static void fail(const YAML::Mark& mark, const char* why) {
    throw YAML::ParserException(mark, why);
  }

  std::size_t documents_ = 0;
  std::size_t depth_ = 0;
};

void require_sane(const std::string& text) {
  std::istringstream stream(text);
  YAML::Parser parser(stream);
  Preview preview;
  while (parser.HandleNextDocument(preview)) {
  }
}

}  // namespace

std::vector<Json> parse_yaml(std::string_view text, std::string_view where) {
  if (text.size() > limits::kYamlBytes) {
    throw Error(ErrorKind::usage,
                fmt::format("{}: larger than {}", where, human_size(limits::kYamlBytes)));
  }
  require_utf8(text, where);
  std::vector<Json> documents;
  if (std::optional<Json> json = as_json(text, where)) {
    take_apart(std::move(*json), documents);
    return documents;
  }
  try {
    require_sane(std::string(text));
    Converter converter(where);
    for (const YAML::Node& node : YAML::LoadAll(std::string(text))) {
      take_apart(converter.convert(node, 1), documents);
    }
  } catch (const YAML::Exception& error) {
    throw Error(ErrorKind::usage,
                fmt::format("{}: line {}: {}", where, error.mark.line + 1, error.msg), kMend);
  }
  return documents;
}

std::string to_yaml(const Json& value) {
  Emitter emitter;
  emitter.value(value, 0);
  return emitter.text;
}

}  // namespace kubedr
