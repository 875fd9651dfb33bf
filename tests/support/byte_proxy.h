#ifndef KUBEDR_SUPPORT_BYTE_PROXY_H
#define KUBEDR_SUPPORT_BYTE_PROXY_H

#include <sys/types.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <list>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "base/file.h"

namespace kubedr::test {

// What the proxy does to its connections.
//
// units    offsets count bytes from the server since set(), over all connections, so that each
//          fires once and a second try finds a sound connection; with `every_connection` they
//          count anew in each. Bytes to the server count since set(), over all connections.
//          Requests count from 1 since set().
struct ProxyRules {
  std::optional<std::uint64_t> flip_at;   // the lowest bit of this byte
  std::optional<std::uint64_t> cut_at;    // the connection ends, orderly, before this byte
  std::optional<std::uint64_t> stall_at;  // nothing from this byte on, until the next set()
  bool every_connection = false;

  bool refuse = false;                 // new connections end at once
  std::string unknown_header;          // a request with it is answered 501, as S3 would; lower case
  std::string swallowed_header;        // likewise, but answered 200, as if all was done
  std::chrono::milliseconds delay{0};  // before each piece from the server
  std::chrono::milliseconds latency{0};  // before the first piece of an answer
  std::uint64_t bytes_per_second = 0;    // in each direction, of all connections; 0 is no limit

  int kill_before_request = 0;  // the victim gets SIGKILL, the server never sees that request
  int kill_after_request = 0;   // the server has carried it out, the victim never sees the answer
  // Or once all before this byte has passed, which ends the connection too.
  std::optional<std::uint64_t> kill_at_to_server;
  std::optional<std::uint64_t> kill_at_to_client;
};

// A TCP proxy in front of a server of 127.0.0.1.
//
// Requests are recognised for plain HTTP/1.1 only.
//
// threads  synchronised
class ByteProxy {
 public:
  explicit ByteProxy(int target_port);
  ByteProxy(const ByteProxy&) = delete;
  ByteProxy& operator=(const ByteProxy&) = delete;
  ~ByteProxy();

  int port() const { return port_; }

  void set(const ProxyRules& rules);

  // Whom the kill rules kill. Set the rules first, then start the program: a request that is to
  // kill waits until it is known whom.
  void set_victim(pid_t pid);

  // Ends all connections of now.
  void cut_all();

  struct Counts {
    int connections = 0;
    std::uint64_t bytes_to_server = 0;
    std::uint64_t bytes_to_client = 0;
  };

  // Since the proxy began.
  Counts counts() const;
  std::vector<std::string> requests() const;  // "PUT /bucket/config"

 private:
  struct Link;

  void accept_links();
  bool open_link(FileDescriptor client);
  void to_server(Link& link);
  void to_client(Link& link);
  bool pass_requests(Link& link, std::string_view piece);
  std::string_view own_answer(std::string_view piece) const;
  bool pass_to_server(const Link& link, std::string_view piece);
  bool pass_answer(const Link& link, std::string_view piece);
  bool pass_piece(Link& link, std::span<char> piece);
  void pace(std::size_t bytes, std::chrono::steady_clock::time_point& free_at);
  void kill_victim();

  FileDescriptor listener_;
  int port_ = 0;
  const int target_port_;
  std::atomic<pid_t> victim_ = 0;

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  // Guarded by mutex_:
  ProxyRules rules_;
  std::uint64_t rules_number_ = 0;
  std::uint64_t offset_ = 0;         // bytes from the server since set()
  std::uint64_t upward_offset_ = 0;  // bytes to the server since set()
  int request_ = 0;                  // since set()
  // When a paced direction has done with what it was given.
  std::chrono::steady_clock::time_point upward_free_at_{};
  std::chrono::steady_clock::time_point downward_free_at_{};
  Counts counts_;
  std::vector<std::string> requests_;
  std::list<Link> links_;
  bool stopping_ = false;

  std::jthread acceptor_;
};

}  // namespace kubedr::test

#endif  // KUBEDR_SUPPORT_BYTE_PROXY_H
