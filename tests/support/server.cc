#include "support/server.h"

#include <arpa/inet.h>
#include <doctest/doctest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <stdexcept>
#include <thread>

#include "base/clock.h"
#include "base/error.h"
#include "base/text.h"
#include "support/live_log.h"

namespace kubedr::test {
namespace {

namespace fs = std::filesystem;

std::string variable(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

fs::path server_folder() {
  if (const std::string folder = variable("KUBEDR_TEST_SERVERS"); !folder.empty()) return folder;
  if (const std::string cache = variable("KUBEDR_TEST_CACHE"); !cache.empty()) {
    return fs::path(cache) / "bin";
  }
  const std::string cache = variable("XDG_CACHE_HOME");
  const fs::path root = cache.empty() ? fs::path(variable("HOME")) / ".cache" : fs::path(cache);
  return root / "kubedr-test-servers" / "bin";
}

bool may_skip() {
  return variable("KUBEDR_SKIP_MISSING") == "1";
}

// Of this machine; false, where that may be.
bool missing(const std::string& name) {
  if (!may_skip()) FAIL(name << " is missing: install it, or set KUBEDR_SKIP_MISSING=1");
  MESSAGE("skipped, " << name << " is missing");
  return false;
}

bool can_bind(int port) {
  const FileDescriptor socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<std::uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return ::bind(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
}

}  // namespace

// Not the kernel's choice: from its range a client's outgoing connection may take the port before
// the server does. Each process walks a stretch of its own below that range.
int free_port() {
  constexpr int kFirst = 12000;
  constexpr int kCount = 20000;
  static std::atomic<int> next = static_cast<int>(::getpid()) * 37 % kCount;
  for (int tries = 0; tries < kCount; ++tries) {
    const int port = kFirst + next++ % kCount;
    if (can_bind(port)) return port;
  }
  throw std::runtime_error("no free port on 127.0.0.1");
}

fs::path find_server(const std::string& name) {
  const fs::path program = server_folder() / name;
  if (!fs::exists(program)) {
    FAIL(program.string() << " is missing: run tests/servers/fetch " << name
                          << ", or set KUBEDR_SKIP_MISSING=1");
  }
  return program;
}

bool have_server(const std::string& name) {
  if (!may_skip()) return !find_server(name).empty();
  const bool there = fs::exists(server_folder() / name);
  if (!there) MESSAGE("skipped, " << name << " is missing: see tests/servers/fetch");
  return there;
}

bool have_right(bool granted, const std::string& what) {
  if (granted) return true;
  if (!may_skip()) FAIL("no right to " << what << ": run as root, or set KUBEDR_SKIP_MISSING=1");
  MESSAGE("skipped, no right to " << what);
  return false;
}

bool have_program(const std::string& name) {
  for (const std::string& folder : split(variable("PATH"), ':')) {
    if (::access((folder + "/" + name).c_str(), X_OK) == 0) return true;
  }
  return missing(name);
}

bool have_file(const fs::path& file, const std::string& package) {
  return fs::exists(file) || missing(package);
}

void wait_until_ready(Process& process, const fs::path& log, const std::function<bool()>& ready,
                      std::chrono::milliseconds timeout) {
  const std::string name = log.stem().string();
  const auto until = std::chrono::steady_clock::now() + timeout;
  while (!ready()) {
    if (process.wait(std::chrono::milliseconds(50))) {
      throw std::runtime_error(name + " ended while starting:\n" + last_lines(log));
    }
    if (std::chrono::steady_clock::now() > until) {
      throw std::runtime_error(name + " is not ready in time:\n" + last_lines(log));
    }
  }
}

http::Client local_client(http::Tls tls) {
  http::Options options;
  options.tls = std::move(tls);
  options.version = http::Version::http1;
  return http::Client(std::move(options));
}

bool answers(http::Client& client, const std::string& url, const Secret& authorization) {
  http::Request request;
  request.url = url;
  request.authorization = authorization;
  try {
    return client.send(request, call_for(std::chrono::seconds(2))).status == 200;
  } catch (const Error&) {
    return false;
  }
}

Call call_for(std::chrono::milliseconds time) {
  static const SystemClock clock;
  return Call(clock).within(time);
}

}  // namespace kubedr::test
