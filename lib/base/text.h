#ifndef KUBEDR_BASE_TEXT_H
#define KUBEDR_BASE_TEXT_H

#include <charconv>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace kubedr {

std::string_view trim(std::string_view text);
std::vector<std::string> split(std::string_view text, char separator);
std::string join(const std::vector<std::string>& parts, std::string_view separator);
std::string to_lower(std::string_view text);

// The number that the whole of a text is, without blanks or a plus.
template <class Number>
std::optional<Number> parse_number(std::string_view text) {
  Number number{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return number;
}

// "512 B", "1.5 KiB", "84.2 MiB": three significant digits at the most, binary units.
std::string human_size(std::uint64_t bytes);

// Cuts at a character border so that at most `bytes` are left, marking the cut with "...".
std::string shorten(std::string_view text, std::size_t bytes);

// Control characters, ESC among them, as \xNN: for text from outside that goes to a terminal.
// Newlines and tabs stay.
std::string printable(std::string_view text);

// A word as a shell reads it back, in quotes where it needs them. Names in the commands we print
// may come from somebody else's database, kubeconfig or certificate.
std::string shell_word(std::string_view text);

// The candidate that was probably meant, or empty: at most two edits away, and fewer than half of
// the letters.
std::string closest(std::string_view word, const std::vector<std::string>& candidates);

}  // namespace kubedr

#endif  // KUBEDR_BASE_TEXT_H
