#ifndef KUBEDR_REPO_JSON_TEXT_H
#define KUBEDR_REPO_JSON_TEXT_H

#include <cstdint>
#include <string>
#include <string_view>

// JSON as Go's encoder writes it: what is hashed must be equal to the byte.
namespace kubedr::repo {

// A quoted JSON string; invalid UTF-8 becomes U+FFFD, `<`, `>`, `&` become escapes.
std::string go_json_string(std::string_view text);

// strconv.Quote without the outer quotes: how restic stores names that may be any bytes.
std::string go_quote(std::string_view bytes);

// The reverse; false when Go's Unquote would not take `text`.
bool go_unquote(std::string_view text, std::string& bytes);

bool is_utf8(std::string_view bytes);

// What a document is made of, in its order, for readers that do not keep it whole.
class JsonEvents {
 public:
  virtual ~JsonEvents() = default;

  // False passes over the whole value: nothing of it, nor its end, is reported.
  virtual bool begin_object() = 0;
  virtual bool begin_array() = 0;
  virtual void end() = 0;

  virtual void key(std::string& name) = 0;
  virtual void text(std::string& value) = 0;
  virtual void number(std::uint64_t value) = 0;
  virtual void null() = 0;

  // A value that these files have no use for: true, false, and numbers below 0, with a fraction or
  // beyond 64 bits.
  virtual void other() = 0;
};

// Reads a document of at most limits::kJsonDepth levels. What `events` throws passes through.
//
// errors   corrupt: `where: not valid JSON ...`
void read_json(std::string_view text, std::string_view where, JsonEvents& events);

}  // namespace kubedr::repo

#endif  // KUBEDR_REPO_JSON_TEXT_H
