#include "repo/json_text.h"

#include <fmt/core.h>

#include <algorithm>
#include <iterator>
#include <nlohmann/json.hpp>
#include <optional>

#include "base/error.h"
#include "base/json.h"
#include "base/limits.h"

namespace kubedr::repo {
namespace {

struct RuneRange {
  std::uint32_t first;
  std::uint32_t last;
};

constexpr RuneRange kPrintable[] = {
#include "repo/printable_runes.inc"
};

bool is_printable(std::uint32_t rune) {
  const RuneRange* range =
      std::lower_bound(std::begin(kPrintable), std::end(kPrintable), rune,
                       [](const RuneRange& r, std::uint32_t value) { return r.last < value; });
  return range != std::end(kPrintable) && range->first <= rune;
}

struct Rune {
  std::uint32_t value = 0;
  std::size_t size = 0;  // bytes
};

bool is_continuation(char c) {
  return (static_cast<unsigned char>(c) & 0xC0) == 0x80;
}

// The character that `text` begins with; nullopt when its first byte begins none. Overlong forms,
// surrogates and values beyond U+10FFFF are none.
std::optional<Rune> decode(std::string_view text) {
  const auto lead = static_cast<unsigned char>(text[0]);
  if (lead < 0x80) return Rune{lead, 1};
  if (lead < 0xC2 || lead > 0xF4) return std::nullopt;
  const std::size_t size = lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
  if (text.size() < size) return std::nullopt;
  std::uint32_t value = lead & (0x7Fu >> size);
  for (std::size_t i = 1; i < size; ++i) {
    if (!is_continuation(text[i])) return std::nullopt;
    value = (value << 6) | (static_cast<unsigned char>(text[i]) & 0x3Fu);
  }
  constexpr std::uint32_t kLeast[] = {0, 0, 0x80, 0x800, 0x10000};
  if (value < kLeast[size] || value > 0x10FFFF) return std::nullopt;
  if (value >= 0xD800 && value <= 0xDFFF) return std::nullopt;
  return Rune{value, size};
}

void append_utf8(std::string& out, std::uint32_t rune) {
  const auto add = [&out](std::uint32_t byte) { out += static_cast<char>(byte); };
  if (rune < 0x80) return add(rune);
  if (rune < 0x800) {
    add(0xC0 | rune >> 6);
  } else if (rune < 0x10000) {
    add(0xE0 | rune >> 12);
    add(0x80 | (rune >> 6 & 0x3F));
  } else {
    add(0xF0 | rune >> 18);
    add(0x80 | (rune >> 12 & 0x3F));
    add(0x80 | (rune >> 6 & 0x3F));
  }
  add(0x80 | (rune & 0x3F));
}

void append_json_ascii(std::string& out, char c) {
  switch (c) {
  case '"':
    out += "\\\"";
    return;
  case '\\':
    out += "\\\\";
    return;
  case '\n':
    out += "\\n";
    return;
  case '\r':
    out += "\\r";
    return;
  case '\t':
    out += "\\t";
    return;
  default:
    break;
  }
  const bool for_html = c == '<' || c == '>' || c == '&';
  if (for_html || static_cast<unsigned char>(c) < 0x20) {
    out += fmt::format("\\u{:04x}", static_cast<unsigned>(c));
  } else {
    out += c;
  }
}

// Go's one-letter escapes, in pairs of the letter and its byte.
constexpr std::string_view kLetterEscapes = "a\ab\bf\fn\nr\rt\tv\v\\\\\"\"";

void append_quoted(std::string& out, const Rune& rune, std::string_view bytes) {
  if (rune.value < 0x80) {
    for (std::size_t i = 0; i < kLetterEscapes.size(); i += 2) {
      if (static_cast<std::uint32_t>(kLetterEscapes[i + 1]) != rune.value) continue;
      out += '\\';
      out += kLetterEscapes[i];
      return;
    }
  }
  if (is_printable(rune.value)) {
    out += bytes;
  } else if (rune.value < 0x20 || rune.value == 0x7F) {
    out += fmt::format("\\x{:02x}", rune.value);
  } else if (rune.value < 0x10000) {
    out += fmt::format("\\u{:04x}", rune.value);
  } else {
    out += fmt::format("\\U{:08x}", rune.value);
  }
}

int digit_value(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return 16;
}

// Takes `count` digits from the front of `text`.
std::optional<std::uint32_t> take_number(std::string_view& text, std::size_t count, int base) {
  if (text.size() < count) return std::nullopt;
  std::uint32_t value = 0;
  for (const char c : text.substr(0, count)) {
    const int digit = digit_value(c);
    if (digit >= base) return std::nullopt;
    value = value * static_cast<std::uint32_t>(base) + static_cast<std::uint32_t>(digit);
  }
  text.remove_prefix(count);
  return value;
}

// Takes one escape from the front of `text`, its backslash already gone.
bool take_escape(std::string_view& text, std::string& bytes) {
  if (text.empty()) return false;
  const char letter = text[0];
  for (std::size_t i = 0; i < kLetterEscapes.size(); i += 2) {
    if (kLetterEscapes[i] != letter) continue;
    bytes += kLetterEscapes[i + 1];
    text.remove_prefix(1);
    return true;
  }
  const bool octal = letter >= '0' && letter <= '7';
  if (!octal) text.remove_prefix(1);
  if (octal || letter == 'x') {
    const auto byte = octal ? take_number(text, 3, 8) : take_number(text, 2, 16);
    if (!byte || *byte > 0xFF) return false;
    bytes += static_cast<char>(*byte);
    return true;
  }
  if (letter != 'u' && letter != 'U') return false;
  const auto rune = take_number(text, letter == 'u' ? 4 : 8, 16);
  if (!rune || *rune > 0x10FFFF || (*rune >= 0xD800 && *rune <= 0xDFFF)) return false;
  append_utf8(bytes, *rune);
  return true;
}

// nlohmann's reader calls these; keeps the depth, and leaves out what is passed over.
class Reader {
 public:
  Reader(std::string_view where, JsonEvents& events) : where_(where), events_(events) {}

  bool null() {
    if (passing_ == 0) events_.null();
    return true;
  }

  bool boolean(bool) { return other(); }

  bool number_integer(std::int64_t) { return other(); }

  bool number_unsigned(std::uint64_t value) {
    if (passing_ == 0) events_.number(value);
    return true;
  }

  bool number_float(double, const std::string&) { return other(); }

  bool string(std::string& value) {
    if (passing_ == 0) events_.text(value);
    return true;
  }

  bool binary(Json::binary_t&) { return other(); }

  bool start_object(std::size_t) {
    enter();
    if (passing_ > 0 || !events_.begin_object()) ++passing_;
    return true;
  }

  bool start_array(std::size_t) {
    enter();
    if (passing_ > 0 || !events_.begin_array()) ++passing_;
    return true;
  }

  bool end_object() { return leave(); }

  bool end_array() { return leave(); }

  bool key(std::string& name) {
    if (passing_ == 0) events_.key(name);
    return true;
  }

  bool parse_error(std::size_t, const std::string&, const nlohmann::detail::exception& error) {
    throw Error(ErrorKind::corrupt, where_ + ": not valid JSON: " + error.what());
  }

 private:
  bool other() {
    if (passing_ == 0) events_.other();
    return true;
  }

  void enter() {
    if (++depth_ <= limits::kJsonDepth) return;
    throw Error(ErrorKind::corrupt, where_ + ": not valid JSON: nested too deeply");
  }

  bool leave() {
    --depth_;
    if (passing_ == 0) {
      events_.end();
    } else {
      --passing_;
    }
    return true;
  }

  const std::string where_;
  JsonEvents& events_;
  std::size_t depth_ = 0;
  std::size_t passing_ = 0;  // levels inside a value that is passed over
};

}  // namespace

std::string go_json_string(std::string_view text) {
  std::string out = "\"";
  out.reserve(text.size() + 2);
  while (!text.empty()) {
    const std::optional<Rune> rune = decode(text);
    if (!rune) {
      out += "\\ufffd";
      text.remove_prefix(1);
      continue;
    }
    if (rune->size == 1) {
      append_json_ascii(out, text[0]);
    } else if (rune->value == 0x2028 || rune->value == 0x2029) {
      out += fmt::format("\\u{:04x}", rune->value);
    } else {
      out += text.substr(0, rune->size);
    }
    text.remove_prefix(rune->size);
  }
  return out += '"';
}

std::string go_quote(std::string_view bytes) {
  std::string out;
  out.reserve(bytes.size());
  while (!bytes.empty()) {
    const std::optional<Rune> rune = decode(bytes);
    if (!rune) {
      out += fmt::format("\\x{:02x}", static_cast<unsigned char>(bytes[0]));
      bytes.remove_prefix(1);
      continue;
    }
    append_quoted(out, *rune, bytes.substr(0, rune->size));
    bytes.remove_prefix(rune->size);
  }
  return out;
}

bool go_unquote(std::string_view text, std::string& bytes) {
  bytes.clear();
  while (!text.empty()) {
    const char c = text[0];
    if (c == '"' || c == '\n') return false;
    text.remove_prefix(1);
    if (c != '\\') {
      bytes += c;
    } else if (!take_escape(text, bytes)) {
      return false;
    }
  }
  return true;
}

bool is_utf8(std::string_view bytes) {
  while (!bytes.empty()) {
    const std::optional<Rune> rune = decode(bytes);
    if (!rune) return false;
    bytes.remove_prefix(rune->size);
  }
  return true;
}

void read_json(std::string_view text, std::string_view where, JsonEvents& events) {
  Reader reader(where, events);
  Json::sax_parse(text, &reader);
}

}  // namespace kubedr::repo
