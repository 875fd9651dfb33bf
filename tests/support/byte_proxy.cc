#include "support/byte_proxy.h"

#include <arpa/inet.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <stdexcept>
#include <string_view>

#include "base/text.h"

namespace kubedr::test {
namespace {

constexpr std::string_view kRequestMark = " HTTP/1.1\r\n";

constexpr std::string_view kNotImplemented =
    "HTTP/1.1 501 Not Implemented\r\ncontent-type: application/xml\r\ncontent-length: 128\r\n"
    "connection: close\r\n\r\n"
    "<Error><Code>NotImplemented</Code><Message>A header you provided implies functionality that "
    "is "
    "not implemented</Message></Error>";

constexpr std::string_view kDone =
    "HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";

sockaddr_in loopback(int port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<std::uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return address;
}

FileDescriptor tcp_socket() {
  return FileDescriptor(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
}

bool send_all(int fd, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t n = ::send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (n <= 0) return false;
    bytes.remove_prefix(static_cast<std::size_t>(n));
  }
  return true;
}

// Whether `at` lies in the `size` bytes that begin at `begin`, and where.
std::optional<std::size_t> within(const std::optional<std::uint64_t>& at, std::uint64_t begin,
                                  std::size_t size) {
  if (!at || *at < begin || *at >= begin + size) return std::nullopt;
  return static_cast<std::size_t>(*at - begin);
}

}  // namespace

// One client and its connection to the server; a thread for each direction.
struct ByteProxy::Link {
  FileDescriptor client;
  FileDescriptor server;
  std::string unfinished{};         // the end of what the client sent, up to a mark's length
  std::uint64_t offset = 0;         // bytes from the server; belongs to the thread to_client
  std::atomic<int> request = 0;     // the number of the latest one on this connection
  std::atomic<int> running = 2;     // threads
  std::atomic<bool> asked = false;  // something was sent that has no answer yet
  std::jthread upward{};
  std::jthread downward{};

  void end() const {
    ::shutdown(client.get(), SHUT_RDWR);
    ::shutdown(server.get(), SHUT_RDWR);
  }
};

ByteProxy::ByteProxy(int target_port) : listener_(tcp_socket()), target_port_(target_port) {
  sockaddr_in address = loopback(0);
  socklen_t size = sizeof address;
  auto* generic = reinterpret_cast<sockaddr*>(&address);
  if (::bind(listener_.get(), generic, size) != 0 || ::listen(listener_.get(), 128) != 0 ||
      ::getsockname(listener_.get(), generic, &size) != 0) {
    throw std::runtime_error("byte proxy: cannot listen");
  }
  port_ = ntohs(address.sin_port);
  acceptor_ = std::jthread([this] { accept_links(); });
}

ByteProxy::~ByteProxy() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
    changed_.notify_all();
  }
  pid_t nobody = 0;
  if (victim_.compare_exchange_strong(nobody, -1)) victim_.notify_all();
  ::shutdown(listener_.get(), SHUT_RDWR);
  acceptor_.join();
  cut_all();
  links_.clear();  // joins; not under the mutex, which the threads take
}

void ByteProxy::set(const ProxyRules& rules) {
  const std::lock_guard lock(mutex_);
  rules_ = rules;
  ++rules_number_;
  offset_ = upward_offset_ = 0;
  request_ = 0;
  upward_free_at_ = downward_free_at_ = {};
  changed_.notify_all();
}

void ByteProxy::set_victim(pid_t pid) {
  victim_ = pid;
  victim_.notify_all();
}

void ByteProxy::kill_victim() {
  victim_.wait(0);
  if (const pid_t pid = victim_; pid > 0) ::kill(pid, SIGKILL);
}

void ByteProxy::cut_all() {
  const std::lock_guard lock(mutex_);
  for (const Link& link : links_) link.end();
}

ByteProxy::Counts ByteProxy::counts() const {
  const std::lock_guard lock(mutex_);
  return counts_;
}

std::vector<std::string> ByteProxy::requests() const {
  const std::lock_guard lock(mutex_);
  return requests_;
}

void ByteProxy::accept_links() {
  while (true) {
    FileDescriptor client(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
    if (!client.valid() || !open_link(std::move(client))) return;
  }
}

// False when the proxy is about to stop.
bool ByteProxy::open_link(FileDescriptor client) {
  FileDescriptor server = tcp_socket();
  const sockaddr_in address = loopback(target_port_);
  const bool connected =
      ::connect(server.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;

  const std::lock_guard lock(mutex_);
  if (stopping_) return false;
  ++counts_.connections;
  links_.remove_if([](const Link& link) { return link.running == 0; });
  if (!connected || rules_.refuse) return true;
  Link& link = links_.emplace_back(std::move(client), std::move(server));
  link.upward = std::jthread([this, &link] { to_server(link); });
  link.downward = std::jthread([this, &link] { to_client(link); });
  return true;
}

void ByteProxy::to_server(Link& link) {
  std::array<char, 16384> buffer{};
  while (true) {
    const ssize_t n = ::recv(link.client.get(), buffer.data(), buffer.size(), 0);
    if (n <= 0) break;
    const std::string_view piece(buffer.data(), static_cast<std::size_t>(n));
    if (!pass_requests(link, piece)) {
      link.end();
      break;
    }
    if (const std::string_view answer = own_answer(piece); !answer.empty()) {
      send_all(link.client.get(), answer);
      ::shutdown(link.client.get(), SHUT_WR);
      // The rest of the body: closed with bytes unread, the answer might be lost.
      while (::recv(link.client.get(), buffer.data(), buffer.size(), 0) > 0) continue;
      break;
    }
    pace(piece.size(), upward_free_at_);
    link.asked = true;
    if (!pass_to_server(link, piece)) break;
  }
  ::shutdown(link.server.get(), SHUT_WR);
  --link.running;
}

void ByteProxy::to_client(Link& link) {
  std::array<char, 16384> buffer{};
  while (true) {
    const ssize_t n = ::recv(link.server.get(), buffer.data(), buffer.size(), 0);
    if (n <= 0) break;
    const std::span<char> piece(buffer.data(), static_cast<std::size_t>(n));
    if (!pass_answer(link, {piece.data(), piece.size()}) || !pass_piece(link, piece)) {
      link.end();
      break;
    }
  }
  ::shutdown(link.client.get(), SHUT_WR);
  --link.running;
}

// Counts the requests that begin in this piece; false if one of them must not pass. Bodies are
// searched too: that one holds the mark is not to be feared in a test.
bool ByteProxy::pass_requests(Link& link, std::string_view piece) {
  std::string text = std::move(link.unfinished);
  text += piece;
  bool pass = true;
  std::size_t begin = 0;
  const std::lock_guard lock(mutex_);
  counts_.bytes_to_server += piece.size();
  for (std::size_t mark = text.find(kRequestMark); mark != std::string::npos;
       mark = text.find(kRequestMark, begin)) {
    const std::size_t line = text.find_last_of('\n', mark);
    const std::size_t start = line == std::string::npos ? 0 : line + 1;
    requests_.push_back(text.substr(start, mark - start));
    link.request = ++request_;
    if (request_ == rules_.kill_before_request) pass = false;
    begin = mark + kRequestMark.size();
  }
  constexpr std::size_t kLongestLine = 8192;
  const std::size_t rest = text.size() - begin;
  link.unfinished = text.substr(rest > kLongestLine ? text.size() - kLongestLine : begin);
  if (!pass) kill_victim();
  return pass;
}

// A request's head comes in one piece. Empty: the server answers it.
std::string_view ByteProxy::own_answer(std::string_view piece) const {
  const std::lock_guard lock(mutex_);
  const auto has = [&](const std::string& header) {
    return !header.empty() && to_lower(piece).find("\n" + header + ":") != std::string::npos;
  };
  if (has(rules_.unknown_header)) return kNotImplemented;
  if (has(rules_.swallowed_header)) return kDone;
  return {};
}

// False if no more is to be sent.
bool ByteProxy::pass_to_server(const Link& link, std::string_view piece) {
  std::unique_lock lock(mutex_);
  const auto kill = within(rules_.kill_at_to_server, upward_offset_, piece.size());
  upward_offset_ += piece.size();
  lock.unlock();
  const bool sent = send_all(link.server.get(), piece.substr(0, kill.value_or(piece.size())));
  if (!kill) return sent;
  kill_victim();
  link.end();
  return false;
}

// False if this is the answer that the victim must not see.
bool ByteProxy::pass_answer(const Link& link, std::string_view piece) {
  if (piece.starts_with("HTTP/1.1 100")) return true;  // nothing was carried out yet
  {
    const std::lock_guard lock(mutex_);
    if (rules_.kill_after_request == 0 || link.request != rules_.kill_after_request) return true;
  }
  kill_victim();
  return false;
}

// Sends a piece to the client as the rules have it; false if the connection is to end.
bool ByteProxy::pass_piece(Link& link, std::span<char> piece) {
  std::unique_lock lock(mutex_);
  const std::uint64_t begin = rules_.every_connection ? link.offset : offset_;
  link.offset += piece.size();
  offset_ += piece.size();
  counts_.bytes_to_client += piece.size();
  const std::chrono::milliseconds delay = rules_.delay;
  const std::chrono::milliseconds latency = rules_.latency;
  const std::uint64_t rules_number = rules_number_;
  if (const auto at = within(rules_.flip_at, begin, piece.size())) piece[*at] ^= 1;
  const auto kill = within(rules_.kill_at_to_client, begin, piece.size());
  const auto cut = kill ? kill : within(rules_.cut_at, begin, piece.size());
  const auto stall = within(rules_.stall_at, begin, piece.size());
  lock.unlock();

  std::this_thread::sleep_for(link.asked.exchange(false) ? delay + latency : delay);
  pace(piece.size(), downward_free_at_);
  const std::string_view bytes(piece.data(), piece.size());
  const std::size_t first = cut ? *cut : stall ? *stall : bytes.size();
  const bool sent = send_all(link.client.get(), bytes.substr(0, first));
  if (kill) kill_victim();
  if (!sent || cut) return false;
  if (!stall) return true;
  lock.lock();
  changed_.wait(lock, [&] { return stopping_ || rules_number_ != rules_number; });
  if (stopping_) return false;
  lock.unlock();
  return send_all(link.client.get(), bytes.substr(first));
}

void ByteProxy::pace(std::size_t bytes, std::chrono::steady_clock::time_point& free_at) {
  std::chrono::steady_clock::time_point until;
  {
    const std::lock_guard lock(mutex_);
    if (rules_.bytes_per_second == 0) return;
    const auto now = std::chrono::steady_clock::now();
    const std::chrono::microseconds needed(bytes * 1'000'000 / rules_.bytes_per_second);
    free_at = std::max(free_at, now) + needed;
    until = free_at;
  }
  std::this_thread::sleep_until(until);
}

}  // namespace kubedr::test
