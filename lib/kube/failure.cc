#include "kube/failure.h"

#include <fmt/core.h>

#include <nlohmann/json.hpp>
#include <vector>

#include "base/json.h"
#include "base/text.h"

namespace kubedr::kube {
namespace {

constexpr std::size_t kShownBody = 512;

// The fields of a Status that matter here.
struct Status {
  std::string reason;
  std::string message;
};

Status parse_status(const http::Response& response) {
  Json body;
  try {
    body = parse_json(response.text(), "status");
  } catch (const Error&) {
    return {};  // a proxy's page, or the text of a limiter
  }
  if (find_string(body, {"kind"}) != "Status") return {};
  return {find_string(body, {"reason"}).value_or(""), find_string(body, {"message"}).value_or("")};
}

// client-go's words for an answer that is no Status, by which people search.
std::string generic_message(int code, std::string_view body) {
  switch (code) {
  case 400:
    return "the server rejected our request for an unknown reason";
  case 404:
    return "the server could not find the requested resource";
  case 405:
    return "the server does not allow this method on the requested resource";
  case 409:
    return "the server reported a conflict";
  case 422:
    return "the server rejected our request due to an error in our request";
  case 429:
    return "the server has received too many requests and has asked us to try again later";
  case 503:
    return "the server is currently unable to handle the request";
  case 504:
    return "the server was unable to return a response in the time allotted, but may still be "
           "processing the request";
  default:
    break;
  }
  const std::string text = shorten(printable(trim(body)), kShownBody);
  if (code >= 500) {
    return fmt::format("an error on the server (\"{}\") has prevented the request from succeeding",
                       text.empty() ? "unknown" : text);
  }
  if (text.empty()) {
    return fmt::format(
        "the server responded with the status code {} but did not return more information", code);
  }
  return fmt::format("the server responded with the status code {} (\"{}\")", code, text);
}

ErrorKind kind_of(int code, const std::string& reason) {
  if (code == 404) return ErrorKind::not_found;
  if (code == 409) {
    return reason == "AlreadyExists" ? ErrorKind::exists : ErrorKind::conflict;
  }
  if (code == 410) return ErrorKind::conflict;  // the moment that a page token stood for is gone
  if (code == 401 || code == 403) return ErrorKind::denied;
  if (code == 400 || code == 422) return ErrorKind::usage;
  if (http::is_away(code)) return ErrorKind::unavailable;
  return ErrorKind::failed;
}

std::string between(std::string_view text, std::string_view before, std::string_view after) {
  const std::size_t found = text.find(before);
  if (found == std::string_view::npos) return {};
  const std::size_t begin = found + before.size();
  const std::size_t end = text.find(after, begin);
  if (end == std::string_view::npos) return {};
  return std::string(text.substr(begin, end - begin));
}

// The commands that give the missing right; empty where RBAC was not what refused.
std::string grant(const Target& target, const std::string& message) {
  // An apply that would create is refused as "create": the server's word counts.
  const std::string verb = between(message, "\" cannot ", " resource \"");
  const std::string user = between(message, "User \"", "\" cannot ");
  if (verb.empty() || user.empty() || target.resource.empty()) return {};
  std::string resource = target.resource;
  if (!target.group.empty()) resource += "." + target.group;
  if (!target.subresource.empty()) resource += "/" + target.subresource;
  const bool cluster_wide = target.name_space.empty();
  const std::string space = cluster_wide ? "" : "-n " + target.name_space + " ";
  const std::string role = cluster_wide ? "clusterrole" : "role";
  // One Secret, not all that there are.
  const bool only_this = target.resource == "secrets" && verb == "get";
  const std::string part = only_this ? target.name : target.subresource;
  const std::string name = shell_word(
      fmt::format("kubedr-{}-{}{}{}", verb, target.resource, part.empty() ? "" : "-", part));
  const std::string names = only_this ? " --resource-name=" + shell_word(target.name) : "";
  return fmt::format(
      "kubectl {0}create {1} {2} --verb={3} --resource={4}{5} && "
      "kubectl {0}create {1}binding {2} --{1}={2} --user={6}",
      space, role, name, verb, resource, names, shell_word(user));
}

// 429 is said before anything is done; a 5xx may come from a proxy after the fact. A 500 is the API
// server's own, mostly a webhook's failure that comes again: as client-go does, it is repeated only
// where the server says when.
Error::Transport transport_of(const http::Response& response, WallTime now) {
  Error::Transport transport;
  transport.retry_after = response.retry_after(now);
  transport.transient =
      http::is_away(response.status) && (response.status != 500 || transport.retry_after);
  transport.may_have_arrived = response.status != 429;
  return transport;
}

}  // namespace

std::string Target::display() const {
  std::string text = verb;
  if (!resource.empty()) text += " " + resource;
  if (!name.empty()) text += "/" + name;
  if (!subresource.empty()) text += "/" + subresource;
  return text;
}

// /api/v1/... or /apis/GROUP/VERSION/..., then [namespaces/NS/]RESOURCE[/NAME[/SUBRESOURCE]].
Target make_target(std::string_view method, std::string_view path) {
  Target target;
  std::vector<std::string> parts = split(path, '/');
  parts.erase(parts.begin(), parts.begin() + (parts.front().empty() ? 1 : 0));
  std::size_t at = 0;
  if (parts.size() > 2 && parts[0] == "api") {
    at = 2;
  } else if (parts.size() > 3 && parts[0] == "apis") {
    target.group = parts[1];
    at = 3;
  }
  if (at > 0 && parts.size() > at + 2 && parts[at] == "namespaces") {
    target.name_space = parts[at + 1];
    at += 2;
  }
  const auto take = [&]() { return at > 0 && at < parts.size() ? parts[at++] : std::string(); };
  target.resource = take();
  target.name = take();
  target.subresource = take();
  target.verb = method == "GET"     ? (target.name.empty() ? "list" : "get")
                : method == "POST"  ? "create"
                : method == "PATCH" ? "patch"
                                    : to_lower(method);
  if (target.resource.empty()) target.verb += " " + std::string(path);
  return target;
}

Error make_error(const Target& target, const http::Response& response, WallTime now) {
  const int code = response.status;
  const Status status = parse_status(response);
  std::string message =
      status.message.empty() ? generic_message(code, response.text()) : printable(status.message);
  std::string hint;
  if (code == 401) {
    message = "you must be logged in to the server (Unauthorized)";
    hint =
        "the token or certificate is not accepted: it may have expired; compare with "
        "'kubectl auth whoami', which also renews what can be renewed";
  } else if (code == 403) {
    hint = grant(target, message);
  }
  Error error(kind_of(code, status.reason),
              fmt::format("kubernetes: {}: {}", target.display(), message), hint);
  error.with(transport_of(response, now));
  return error;
}

}  // namespace kubedr::kube
