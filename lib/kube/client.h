#ifndef KUBEDR_KUBE_CLIENT_H
#define KUBEDR_KUBE_CLIENT_H

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/call.h"
#include "base/json.h"
#include "http/client.h"
#include "kube/kubeconfig.h"

namespace kubedr::kube {

using Query = std::vector<std::pair<std::string, std::string>>;

enum class PatchType { merge, apply };

// REST verbs of one API server; knows no custom resource. Paths as in `/api/v1/namespaces/NS/...`,
// escaped by path() below; answers are the parsed body.
//
// errors   the server's Status, its message as kubectl words it: not_found (404), exists (409
//          AlreadyExists), conflict (409), denied (401, 403; with the hint that grants the missing
//          verb), usage (400, 422), unavailable (http::is_away, transport)
// threads  one thread
//
// What the server asks to show ("Warning: 299") is logged as a warning, each text once.
class Client {
 public:
  // `user_agent` is also the field manager. `clock` must outlive the client.
  Client(Config config, std::string user_agent, std::chrono::milliseconds request_timeout,
         const Clock& clock);
  ~Client();
  Client(Client&&) noexcept;
  Client& operator=(Client&&) noexcept;

  Json get(const std::string& path, const Query& query, const Call& call);

  // The body as it is, of what is no JSON: a pod's log.
  std::string get_text(const std::string& path, const Query& query, const Call& call);

  // All pages of a list: `each` sees every item, without its managedFields. When a page's token has
  // expired the list is read in one piece, as client-go does.
  void list(const std::string& path, Query query, const std::function<void(const Json&)>& each,
            const Call& call);

  // The resourceVersion of the last list of that path, whatever its query was; empty: none yet.
  std::string list_version(const std::string& path) const;

  // The answer to a watch, whatever its status, with a connection of its own: one event a line, its
  // object with metadata only.
  std::unique_ptr<http::Stream> watch(const std::string& path, const Query& query,
                                      const Call& call);

  Json create(const std::string& path, const Json& body, const Call& call);
  Json patch(const std::string& path, PatchType type, const Json& body, const Query& query,
             const Call& call);

  // Reads an object, merges what `patch_of` makes of it, and begins anew when somebody else was
  // quicker: for what can only be replaced whole, such as a list. A null patch leaves it as it is.
  void modify(const std::string& path, const std::function<Json(const Json&)>& patch_of,
              const Call& call);

  void remove(const std::string& path, const Query& query, const Call& call);

  const Config& config() const;

  // By how much the server's clock is ahead of ours, as of its last answer; nullopt before it.
  std::optional<std::chrono::seconds> clock_offset() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// Joins escaped segments: path({"api", "v1", "namespaces", ns, "secrets", name}).
std::string path(std::initializer_list<std::string_view> segments);

}  // namespace kubedr::kube

#endif  // KUBEDR_KUBE_CLIENT_H
