#ifndef KUBEDR_KUBE_WATCH_H
#define KUBEDR_KUBE_WATCH_H

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/call.h"
#include "http/client.h"
#include "kube/client.h"

namespace kubedr::kube {

// Cuts a body into its lines, each of limits::kWatchLine at the most.
//
// errors   corrupt: a longer one
class Lines {
 public:
  void add(std::string_view piece) { rest_.append(piece); }

  // The next whole line; nullopt until more is added.
  std::optional<std::string> next();

 private:
  std::string rest_;
  std::size_t searched_ = 0;
};

// One line of a watch: {"type": "MODIFIED", "object": {"metadata": {"resourceVersion": "17"}}}
struct WatchEvent {
  std::string type;     // ADDED MODIFIED DELETED BOOKMARK ERROR
  std::string version;  // not of an ERROR
  std::string message;  // of an ERROR: "410 too old resource version"
};

// errors   corrupt: not a watch's line
WatchEvent parse_watch_event(std::string_view line);

// Tells when a list has to be read again. It goes on from the client's last list of that path,
// which is whatever the caller has seen, over cut connections and ends that the server puts to it;
// where that is too long ago, a new list is asked for. Where it may not watch, or nothing comes
// through, it only waits.
//
// errors   what require_live throws, and nothing else
// threads  the client's thread; must go before the client does
// source   Kubernetes' "API concepts": efficient detection of changes, watch bookmarks
class Watch {
 public:
  // `labels` as in a labelSelector; may be empty.
  Watch(Client& client, std::string path, std::string labels)
      : client_(client), path_(std::move(path)), labels_(std::move(labels)) {}

  bool is_of(const std::string& path, const std::string& labels) const {
    return path == path_ && labels == labels_;
  }

  // Waits until something has changed, for `time` at the most. True: list again; false: nothing has
  // changed; nullopt: nobody can tell.
  std::optional<bool> wait(std::chrono::milliseconds time, const Call& call);

 private:
  std::chrono::milliseconds idle(const Call& limited) const;
  bool hear(const Call& limited, const Call& call);
  void open(const Call& call);
  bool refused(int status, const Call& call);
  bool take(const WatchEvent& event, const Call& call);
  void drop(const std::string& why, const Call& call);

  Client& client_;
  const std::string path_;
  const std::string labels_;
  std::string version_;  // where to go on; empty: from the client's last list
  std::unique_ptr<http::Stream> stream_;
  bool accepted_ = false;  // by the status of stream_
  Lines lines_;
  bool heard_ = false;  // a line came, and nothing has gone wrong since
  std::chrono::milliseconds pause_ = kFirstPause;
  SteadyTime not_before_{};

  static constexpr std::chrono::milliseconds kFirstPause = std::chrono::seconds(1);
};

}  // namespace kubedr::kube

#endif  // KUBEDR_KUBE_WATCH_H
