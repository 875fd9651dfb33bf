#ifndef KUBEDR_SUPPORT_SERVER_H
#define KUBEDR_SUPPORT_SERVER_H

#include <chrono>
#include <filesystem>
#include <functional>
#include <string>

#include "http/client.h"
#include "support/process.h"

namespace kubedr::test {

// A TCP port of 127.0.0.1 that nobody listens on.
int free_port();

// The program of a test server or oracle ("etcd-3.5", "minio", "kubectl", ...) as
// tests/servers/fetch left it; KUBEDR_TEST_SERVERS names another folder. Fails the running test
// case when it is missing.
std::filesystem::path find_server(const std::string& name);

// Whether that program is there. Missing, it fails the running test case, unless
// KUBEDR_SKIP_MISSING=1: then the case should return early, see below.
bool have_server(const std::string& name);

// The same for a program of this machine, in PATH: a shell, a linter.
bool have_program(const std::string& name);

// First line of a test case: KUBEDR_NEEDS("etcd");
#define KUBEDR_NEEDS(name) \
  if (!kubedr::test::have_server(name)) return
#define KUBEDR_NEEDS_PROGRAM(name) \
  if (!kubedr::test::have_program(name)) return

// The same for a file that a package of this machine brings.
bool have_file(const std::filesystem::path& file, const std::string& package);

#define KUBEDR_NEEDS_FILE(file, package) \
  if (!kubedr::test::have_file(file, package)) return

// The same for what root may do: KUBEDR_NEEDS_RIGHT(disk.mounted(), "mount a tmpfs");
bool have_right(bool granted, const std::string& what);

#define KUBEDR_NEEDS_RIGHT(granted, what) \
  if (!kubedr::test::have_right(granted, what)) return

// Asks until the answer is yes. Throws with the end of the log if the process ends before, or if
// it takes too long.
void wait_until_ready(Process& process, const std::filesystem::path& log,
                      const std::function<bool()>& ready,
                      std::chrono::milliseconds timeout = std::chrono::seconds(60));

// A client for 127.0.0.1, and whether a GET is answered with 200.
http::Client local_client(http::Tls tls = {});
bool answers(http::Client& client, const std::string& url, const Secret& authorization = {});

// A call on the system's clock that ends after a while.
Call call_for(std::chrono::milliseconds time = std::chrono::seconds(30));

}  // namespace kubedr::test

#endif  // KUBEDR_SUPPORT_SERVER_H
