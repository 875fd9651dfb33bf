#include "kube/watch.h"

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/json.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/text.h"

namespace kubedr::kube {
namespace {

using std::chrono::milliseconds;

// After so long the server ends it and is asked anew; the least that client-go asks for.
constexpr char kWatchSeconds[] = "300";
constexpr milliseconds kLongestPause = std::chrono::seconds(30);  // client-go's
// A backup changes its policy several times at its end: that is told once.
constexpr milliseconds kSettle{200};
constexpr std::size_t kPiece = 16 * limits::kKiB;
constexpr std::size_t kShownMessage = 256;

Error too_long() {
  return Error(ErrorKind::corrupt, fmt::format("a line above {} bytes", limits::kWatchLine));
}

}  // namespace

std::optional<std::string> Lines::next() {
  const std::size_t end = rest_.find('\n', searched_);
  if (std::min(end, rest_.size()) > limits::kWatchLine) throw too_long();
  if (end == std::string::npos) {
    searched_ = rest_.size();
    return std::nullopt;
  }
  std::string line = rest_.substr(0, end);
  rest_.erase(0, end + 1);
  searched_ = 0;
  return line;
}

WatchEvent parse_watch_event(std::string_view line) {
  const Json json = parse_json(line, "watch");
  WatchEvent event;
  event.type = find_string(json, {"type"}).value_or("");
  if (event.type == "ERROR") {
    const std::string message = find_string(json, {"object", "message"}).value_or("");
    event.message = fmt::format("{} {}", find_integer(json, {"object", "code"}).value_or(0),
                                shorten(printable(message), kShownMessage));
    return event;
  }
  event.version = find_string(json, {"object", "metadata", "resourceVersion"}).value_or("");
  const std::array known = {"ADDED", "MODIFIED", "DELETED", "BOOKMARK"};
  if (event.version.empty() || std::find(known.begin(), known.end(), event.type) == known.end()) {
    throw Error(ErrorKind::corrupt, "watch: an event without type or version");
  }
  return event;
}

std::optional<bool> Watch::wait(milliseconds time, const Call& call) {
  bool changed = false;
  Call limited = call.within(time);
  while (limited.remaining() > milliseconds::zero()) {
    if (const milliseconds pause = idle(limited); pause > milliseconds::zero()) {
      call.sleep(pause);
      continue;
    }
    if (!hear(limited, call) || changed) continue;
    changed = true;
    limited = limited.within(kSettle);
  }
  call.require_live();
  if (changed) return true;
  return heard_ ? std::optional(false) : std::nullopt;
}

// How long there is nothing to hear: until it may be asked for again, or all of the time where no
// list says from where on.
milliseconds Watch::idle(const Call& limited) const {
  if (stream_) return milliseconds::zero();
  if (version_.empty() && client_.list_version(path_).empty()) return limited.remaining();
  const auto left = std::chrono::ceil<milliseconds>(not_before_ - limited.clock().steady());
  return std::min(left, limited.remaining());
}

// Whether the next piece tells of a change, or that changes were missed.
bool Watch::hear(const Call& limited, const Call& call) {
  try {
    if (!stream_) open(call);
    if (!accepted_) {
      const int status = stream_->status(limited);
      if (status != 200) return refused(status, call);
      accepted_ = true;
    }
    std::array<std::uint8_t, kPiece> piece{};
    const std::size_t size = stream_->read(piece, limited);
    if (size == 0) {
      drop("", call);
      return false;
    }
    lines_.add(as_text(ByteView(piece).first(size)));
    bool changed = false;
    while (const std::optional<std::string> line = lines_.next()) {
      changed = take(parse_watch_event(*line), call) || changed;
    }
    return changed;
  } catch (const Error& error) {
    call.require_live();
    const bool lost = error.kind() == ErrorKind::corrupt;
    if (lost) version_.clear();
    if (!lost && stream_ && limited.stopped())
      return false;  // only the time is over: it is read on
    drop(error.what(), call);
    return lost;
  }
}

void Watch::open(const Call& call) {
  if (version_.empty()) version_ = client_.list_version(path_);
  Query query = {{"watch", "true"},
                 {"allowWatchBookmarks", "true"},
                 {"resourceVersion", version_},
                 {"timeoutSeconds", kWatchSeconds}};
  if (!labels_.empty()) query.emplace_back("labelSelector", labels_);
  lines_ = {};
  accepted_ = false;
  stream_ = client_.watch(path_, query, call);
}

// What other requests meet as well passes by, a login that has expired among it: they renew it.
bool Watch::refused(int status, const Call& call) {
  const bool is_gone = status == 410;
  const bool passes = is_gone || status == 401 || status == 404 || http::is_away(status);
  drop(fmt::format("the server answers {}{}", status, passes ? "" : "; asking for a list instead"),
       call);
  if (is_gone) version_.clear();
  if (!passes) not_before_ = SteadyTime::max();
  return is_gone;
}

// An error in the place of an event may be about that very moment: as client-go does, go on from a
// new list.
bool Watch::take(const WatchEvent& event, const Call& call) {
  if (event.type == "ERROR") {
    version_.clear();
    drop(event.message, call);
    return true;
  }
  version_ = event.version;
  heard_ = true;
  pause_ = kFirstPause;
  return event.type != "BOOKMARK";
}

// `why` is empty where the server came to an end.
void Watch::drop(const std::string& why, const Call& call) {
  stream_.reset();
  lines_ = {};
  if (!why.empty()) {
    log::info("kubernetes: watch {}: {}", path_, why);
    heard_ = false;
  }
  not_before_ = call.clock().steady() + pause_;
  pause_ = std::min(pause_ * 2, kLongestPause);
}

}  // namespace kubedr::kube
