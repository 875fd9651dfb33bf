#include "kube/warnings.h"

#include <algorithm>

#include "base/text.h"

namespace kubedr::kube {

// 299 - "text", 299 - "text" "Sun, 22 Nov 2026 21:16:13 GMT"
std::vector<std::string> parse_warnings(std::string_view header) {
  std::vector<std::string> texts;
  while (true) {
    const std::size_t quote = header.find('"');
    if (quote == std::string_view::npos) return texts;
    const bool shown = trim(header.substr(0, quote)).starts_with("299 ");
    std::string text;
    std::size_t at = quote + 1;
    for (; at < header.size() && header[at] != '"'; ++at) {
      if (header[at] == '\\' && at + 1 < header.size()) ++at;
      text += header[at];
    }
    if (shown && at < header.size()) texts.push_back(printable(text));
    header.remove_prefix(std::min(header.size(), at + 1));
    while (!header.empty() && (header[0] == ',' || header[0] == ' ')) header.remove_prefix(1);
  }
}

}  // namespace kubedr::kube
